"""The test case for synchronous code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from .aliases import DEFAULT
from .assertions import DatabaseAssertions
from .attributes import FromClass, FromTest
from .base_case import BaseDatabaseTestCase
from .hooks import overrides

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session

    from .lifecycle import TestLifecycle


class DatabaseTestCase(BaseDatabaseTestCase, DatabaseAssertions[None, AbstractContextManager[Any]]):
    """A ``unittest.TestCase`` each of whose tests has a real database, clean at its start.

    During a test every way into the database is isolated: :attr:`session`, :attr:`connection`,
    :attr:`engine`, and the engines of the application that the option ``engines`` names. Each
    connection commits and rolls back for itself; when the test ends, nothing has happened.
    """

    @FromClass
    def engine(cls) -> Engine:
        """The engine of the test's database. It is the same for all tests of the class."""
        return cls.engine_of(DEFAULT)

    @FromClass
    def session_factory(cls) -> Callable[..., Session]:
        """A ``sessionmaker`` bound to :attr:`engine`, with the ``session_options``.

        Tables of other ``databases`` are bound to the engines of these.
        """
        from sqlalchemy.orm import Session, sessionmaker

        binds: Any = cls._dbtestcase_lifecycle.databases.binds(DEFAULT)
        options: dict[str, Any] = {"bind": cls.engine, "binds": binds, **cls.session_options}
        shared = cls._dbtestcase_lifecycle.session_factories.maker_of_shared_session(options)
        return shared or sessionmaker(class_=cls.session_class or Session, **options)

    @FromTest
    def session(self, test: TestLifecycle) -> Session:
        """A session on a connection of its own, closed when the test ends."""
        session = test.sessions[DEFAULT] = self.session_factory()
        test.give_data_to(session)
        return session

    @FromTest
    def connection(self, test: TestLifecycle) -> Connection:
        """A connection of its own, closed when the test ends."""
        return self.engine.connect()

    @classmethod
    def engine_of(cls, alias: str) -> Engine:
        """Return the engine of one of the ``databases``; :attr:`engine` is that of ``"default"``.

        :raises UsageError: there is no such database.
        """
        engine: Engine = cls._dbtestcase_need_class("engine_of").databases.given[alias]
        return engine

    def session_of(self, alias: str) -> Session:
        """Return a session like :attr:`session`, with SQL that names no table sent to ``alias``.

        It is the same one throughout the test, and :attr:`session` itself for ``"default"``.

        :raises UsageError: there is no such database.
        """
        session: Session = self._dbtestcase_session_of(alias)
        return session

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls._dbtestcase_set_up_class(None, cls._dbtestcase_load_data)
        if overrides(cls, DatabaseTestCase, "setUpClass"):
            lifecycle = cls._dbtestcase_lifecycle
            lifecycle.set_up.watch(lifecycle.databases.listening)

    def setUp(self) -> None:
        super().setUp()
        self._dbtestcase_set_up(self._dbtestcase_clean_up)

    @classmethod
    def _dbtestcase_load_data(cls) -> None:
        if overrides(cls, DatabaseTestCase, "setUpTestData"):
            with cls.session_factory() as session:
                session.expire_on_commit = False
                with cls._dbtestcase_lifecycle.sharing(session, cls.__qualname__):
                    cls.setUpTestData(session)
                session.commit()
                cls._dbtestcase_lifecycle.keep_data(session, cls._dbtestcase_instances)

    def _dbtestcase_clean_up(self, test: TestLifecycle) -> None:
        self._dbtestcase_test = None
        with ExitStack() as last:
            last.callback(test.finish)
            for opened in test.opened():
                last.callback(opened.close)
            test.abandon()

    def _dbtestcase_check(self, name: str, check: Callable[[], None]) -> None:
        check()

    def _dbtestcase_block(
        self, name: str, block: AbstractContextManager[Any]
    ) -> AbstractContextManager[Any]:
        return self._block(name, block)
