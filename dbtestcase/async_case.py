"""The test case for asynchronous code."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Coroutine, Iterable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
)
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .aliases import DEFAULT
from .assertions import AsyncBlock, DatabaseAssertions, PendingAssertion
from .attributes import FromClass, FromTest
from .base_case import BaseDatabaseTestCase
from .event_loop import ClassLoop
from .exceptions import NotReadyError
from .hooks import overrides

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

    from .lifecycle import ClassLifecycle, TestLifecycle

Entered = TypeVar("Entered")


class AsyncDatabaseTestCase(
    BaseDatabaseTestCase,
    unittest.IsolatedAsyncioTestCase,
    DatabaseAssertions[PendingAssertion, AsyncBlock],
):
    """:class:`~dbtestcase.DatabaseTestCase` for ``async`` tests.

    All tests of a class run in one event loop, so that connections, pools and clients made in
    :meth:`asyncSetUpClass` stay usable. The loop is in debug mode only if asyncio's own switches
    (``PYTHONASYNCIODEBUG``, ``-X dev``) say so. Tasks that a test leaves are cancelled after it.
    """

    _dbtestcase_is_async = True
    _dbtestcase_loop: ClassVar[ClassLoop]

    @FromClass
    def engine(cls) -> AsyncEngine:
        """The engine of the test's database. It is the same for all tests of the class."""
        return cls.engine_of(DEFAULT)

    @FromClass
    def session_factory(cls) -> Callable[..., AsyncSession]:
        """An ``async_sessionmaker`` bound to :attr:`engine`, with the ``session_options``.

        Unlike SQLAlchemy's, its sessions do not expire objects on commit, unless told to. Tables
        of other ``databases`` are bound to the engines of these.
        """
        from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

        binds = cls._dbtestcase_lifecycle.databases.binds(DEFAULT)
        options = {"bind": cls.engine, "binds": binds, **cls.session_options}
        shared = cls._dbtestcase_lifecycle.session_factories.maker_of_shared_session(options)
        if shared is not None:
            return shared
        options.setdefault("expire_on_commit", False)
        session_class = cls.session_class or AsyncSession
        if not issubclass(session_class, AsyncSession):
            options["sync_session_class"] = session_class
            session_class = AsyncSession
        return async_sessionmaker(class_=session_class, **options)

    @FromTest
    def session(self, test: TestLifecycle) -> AsyncSession:
        """A session on a connection of its own, closed when the test ends."""
        session = test.sessions[DEFAULT] = self.session_factory()
        test.give_data_to(session.sync_session)
        return session

    @FromTest
    def connection(self, test: TestLifecycle) -> AsyncConnection:
        """A connection of its own, closed when the test ends."""
        lifecycle = self._dbtestcase_lifecycle
        if lifecycle.spare is None:
            raise NotReadyError(
                f"{type(self).__qualname__}: self.connection is opened by asyncSetUp.\n"
                "  To fix this, await super().asyncSetUp() first in your asyncSetUp."
            )
        connection, lifecycle.spare = lifecycle.spare, None
        return connection

    @classmethod
    def engine_of(cls, alias: str) -> AsyncEngine:
        """Return the engine of one of the ``databases``; :attr:`engine` is that of ``"default"``.

        :raises UsageError: there is no such database.
        """
        engine: AsyncEngine = cls._dbtestcase_need_class("engine_of").databases.given[alias]
        return engine

    def session_of(self, alias: str) -> AsyncSession:
        """Return a session like :attr:`session`, with SQL that names no table sent to ``alias``.

        It is the same one throughout the test, and :attr:`session` itself for ``"default"``.

        :raises UsageError: there is no such database.
        """
        session: AsyncSession = self._dbtestcase_session_of(alias)
        return session

    @classmethod
    async def asyncSetUpClass(cls) -> None:
        """Set up what all tests of the class share, in the event loop they run in."""

    @classmethod
    async def asyncTearDownClass(cls) -> None:
        """Tear down what :meth:`asyncSetUpClass` set up. Not called if that has failed."""

    @classmethod
    def addAsyncClassCleanup(
        cls, function: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **kwargs: Any
    ) -> None:
        """Await ``function`` after :meth:`asyncTearDownClass`, last in first out.

        What ``addAsyncCleanup`` is for a test. It is called also if the set-up of the class fails.
        """
        cls.addClassCleanup(lambda: cls._dbtestcase_loop.run(function(*args, **kwargs)))

    @classmethod
    async def enterAsyncClassContext(cls, manager: AbstractAsyncContextManager[Entered]) -> Entered:
        """Enter an asynchronous context manager, to be left when the class is done.

        What ``enterAsyncContext`` is for a test.
        """
        entered = await manager.__aenter__()
        cls.addAsyncClassCleanup(type(manager).__aexit__, manager, None, None, None)
        return entered

    @classmethod
    async def asyncSetUpTestData(cls, session: AsyncSession) -> None:
        """Like :meth:`setUpTestData`, and called after it with the same connection."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let runners send a test that has not begun to another process.

        ``IsolatedAsyncioTestCase`` keeps a context, which cannot be sent and is made anew.
        """
        method_name = unittest.TestCase.id(self).rpartition(".")[2]
        new = vars(type(self)(method_name))
        own = {name: value for name, value in vars(self).items() if name not in new}
        return type(self), (method_name,), own

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        loop = ClassLoop(getattr(cls, "loop_factory", None))
        cls.addClassCleanup(loop.close)
        cls._dbtestcase_loop = loop
        cls._dbtestcase_set_up_class(loop, cls._dbtestcase_load_data)
        cls.addClassCleanup(cls._dbtestcase_close_spare, cls._dbtestcase_lifecycle)
        if any(
            overrides(cls, AsyncDatabaseTestCase, hook)
            for hook in ("setUpClass", "asyncSetUpClass")
        ):
            lifecycle = cls._dbtestcase_lifecycle
            lifecycle.set_up.watch(lifecycle.databases.listening)
        loop.run(cls.asyncSetUpClass())

    @classmethod
    def tearDownClass(cls) -> None:
        try:
            if cls._dbtestcase_class() is not None:
                cls._dbtestcase_loop.run(cls.asyncTearDownClass())
        finally:
            super().tearDownClass()

    def setUp(self) -> None:
        super().setUp()
        self._dbtestcase_set_up(self._dbtestcase_clean_up)

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        if self._dbtestcase_lifecycle.spare is None:
            self._dbtestcase_lifecycle.spare = await self.engine.connect()

    def _setupAsyncioRunner(self) -> None:
        """Run the test in the loop of its class.

        The one seam: ``IsolatedAsyncioTestCase`` has no public way to share a loop between tests
        (``loop_factory``, from Python 3.13, gives a loop that is closed after each test) nor to
        leave debug mode off.
        """
        if self._dbtestcase_class() is None:
            super()._setupAsyncioRunner()  # type: ignore[misc]
        else:
            self._asyncioRunner = self._dbtestcase_runner = self._dbtestcase_loop.borrow()

    @classmethod
    def _dbtestcase_load_data(cls) -> None:
        if any(
            overrides(cls, AsyncDatabaseTestCase, hook)
            for hook in ("setUpTestData", "asyncSetUpTestData")
        ):
            cls._dbtestcase_loop.run(cls._dbtestcase_load_data_async())

    @classmethod
    async def _dbtestcase_load_data_async(cls) -> None:
        async with cls.session_factory() as session:
            session.sync_session.expire_on_commit = False
            with cls._dbtestcase_lifecycle.sharing(session, cls.__qualname__):
                await session.run_sync(cls.setUpTestData)
                await cls.asyncSetUpTestData(session)
            await session.commit()
            await session.run_sync(cls._dbtestcase_lifecycle.keep_data, cls._dbtestcase_instances)

    def _dbtestcase_clean_up(self, test: TestLifecycle) -> None:
        self._dbtestcase_test = None
        with ExitStack() as last:
            last.callback(test.finish)
            if not self._dbtestcase_lifecycle.databases.keep_connections:
                last.callback(self._dbtestcase_close_spare, self._dbtestcase_lifecycle)
            last.callback(lambda: self._dbtestcase_loop.run(_close(test.opened())))
            last.callback(test.abandon)
            self._dbtestcase_runner.cancel_tasks()

    @classmethod
    def _dbtestcase_close_spare(cls, lifecycle: ClassLifecycle) -> None:
        spare, lifecycle.spare = lifecycle.spare, None
        if spare is not None:
            cls._dbtestcase_loop.run(spare.close())

    def _dbtestcase_check(self, name: str, check: Callable[[], None]) -> PendingAssertion:
        pending: PendingAssertion = self._dbtestcase_expect(PendingAssertion(name, check))
        return pending

    def _dbtestcase_block(self, name: str, block: AbstractContextManager[Any]) -> AsyncBlock:
        pending: AsyncBlock = self._dbtestcase_expect(AsyncBlock(name, block))
        return pending


async def _close(opened: Iterable[AsyncConnection | AsyncSession]) -> None:
    async with AsyncExitStack() as last:
        for one in opened:
            last.push_async_callback(one.close)
