"""The phases of a test class and of a test, whatever their colour."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import greenlet_spawn

from .assertions import refuse_unused
from .between_tests import SetUpChanges
from .code_digest import mentions
from .connections import MOMENTS
from .database_errors import explain, refuse_loss
from .databases import Databases
from .engines import SOURCE
from .environment import check_environment, keeps_databases, sql_reports
from .event_loop import other_workers, run_alone
from .evidence import keep_all, observe_all
from .factories import Factories
from .lock_waits import LockWaits
from .open_sessions import OpenSessions
from .options import isolation_of
from .recording import recorder
from .session_factories import SessionFactories
from .violations import unreturned_connection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.orm import Session

    from .assertions.pending import Pending
    from .backends import Kept
    from .class_data import ClassData, Instances, InstancesOf
    from .connections import SandboxedConnection
    from .event_loop import ClassLoop
    from .migrating import MigratingDatabase
    from .observation import Observation
    from .recording import Statement


class ClassLifecycle:
    """A test class from its ``setUpClass`` to its class clean-ups.

    :param case: the test class, whose options have been checked.
    :param loop: its event loop, if it is asynchronous.
    :param load_data: makes the class data and calls :meth:`keep_data`.
    """

    def __init__(self, case: Any, *, loop: ClassLoop | None, load_data: Callable[[], None]) -> None:
        check_environment()
        self.loop = loop
        self._case = case
        self._load_data = load_data
        self.data: ClassData | None = None
        self.test = ""  # which one runs
        self.refusal = ""  # of connections outside of set-up and test
        self.given: dict[str, Any] = {}  # what the class was given, by attribute
        self.spare: AsyncConnection | None = None  # kept open for the next test that asks for one
        self.sql_reports = sql_reports()
        self.keeps_databases = keeps_databases()
        self.records = bool(self.sql_reports) or mentions(case, "statements")
        self._recorded: list[Statement] | None = None  # of the test that runs
        self.clean_content: Mapping[str, Observation] | None = None  # once that was asked for
        self.set_up = SetUpChanges()
        with ExitStack() as cleanups:
            databases = self.databases = Databases(case, loop)
            cleanups.callback(databases.close)
            run = run_alone if loop is None else loop.run
            lock_waits = LockWaits(databases, lambda: self.test)
            cleanups.enter_context(databases.listening(lock_waits.listeners))
            self.open_sessions = OpenSessions(databases.alias_of, run)
            cleanups.callback(self.open_sessions.close)
            self.session_factories = SessionFactories(case, databases.router, databases.redirect)
            cleanups.enter_context(self.session_factories.routed())
            self.factories = Factories(case.factories)
            cleanups.callback(self._forget_data)
            cleanups.callback(self.set_up.close)
            self._cleanups = cleanups.pop_all()

    def close(self) -> None:
        """Undo everything, whatever fails in between."""
        self._cleanups.close()

    def load_data(self) -> None:
        """Let ``setUpTestData`` put class data on the class."""
        self._before = dict(vars(self._case))
        try:
            self._load_data()
        except Exception as error:
            self.explain(error)
            raise

    def explain(self, error: BaseException) -> None:
        """Note on ``error`` what a database's error does not say itself."""
        explain(error, self._case, self.databases, self.test)

    def keep_data(self, session: Session, instances_of: InstancesOf) -> None:
        """Keep what ``setUpTestData``, having committed in ``session``, put on the class.

        :param instances_of: returns the instances that a test has, or None outside of one.
        """
        from .class_data import ClassData

        self.data = ClassData(self._case, self._before, instances_of)
        self.data.capture(session)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what the tests of the class execute."""

        def note(statement: Statement) -> None:
            if self._recorded is not None:
                self._recorded.append(statement)

        with self.databases.listening(lambda alias: recorder(alias, note)):
            yield

    @contextmanager
    def running(self, refusal: str) -> Iterator[None]:
        """Refuse connections with that message while a test runs, except as it is set up."""
        self.refusal = refusal
        self.databases.refuse(refusal)
        try:
            yield
        finally:
            self.test = self.refusal = ""
            self.databases.refuse("")

    def start_test(self, test: Any, method_name: str) -> TestLifecycle:
        """Make the databases ready for one test."""
        self.set_up.end(test.id(), lost=not self.databases.intact)
        self.databases.refuse("")
        if not self.databases.intact:
            self.clean_content = None
            self._forget_data()
            self.databases.rebuild()
            self.load_data()
        isolation = isolation_of(self._case, method_name)
        self.test = test.id()
        self.databases.start_test(self.test, isolation)
        self._recorded = [] if self.records else None
        started = TestLifecycle(self, test, method_name, isolation, self._recorded)
        started.enter(self.open_sessions.of_test())
        started.enter(self.session_factories.pinned(lambda: test.session))
        if self.keeps_databases and self.clean_content is None:
            self.clean_content = started.observe()  # as nothing may be undone after a failure
        return started

    def end_recording(self) -> None:
        """Record no more of what the test executes that runs."""
        self._recorded = None

    @contextmanager
    def sharing(self, session: Any, seed: str) -> Iterator[None]:
        """Let the application's registries and factories use ``session``, of the class data."""
        with self.session_factories.pinned(lambda: session), self.factories.making(session, seed):
            self._cleanups.enter_context(self.factories.sequences_restored())
            yield

    def _forget_data(self) -> None:
        if self.data is not None:
            self.data.forget()
            self.data = None


class TestLifecycle:
    """One test, from its ``setUp`` to its clean-ups."""

    def __init__(
        self,
        of: ClassLifecycle,
        test: Any,
        method_name: str,
        isolation: str,
        statements: list[Statement] | None,
    ) -> None:
        self._of = of
        self._test = test
        self._method_name = method_name
        self._databases = of.databases
        self._isolation = isolation
        self.statements = statements  # that it has executed, if they are recorded
        self.instances: Instances | None = None  # of class data
        self.given: dict[str, Any] = {}  # what the test was given, by attribute
        self.sessions: dict[str, Any] = {}  # likewise, by alias
        self.migrating: MigratingDatabase | None = None
        self._began = next(MOMENTS)
        self._older = other_workers(of.loop)  # which may go on after it
        self._cleanups = ExitStack()
        self.pending: list[Pending] = []  # assertions, which it has to use
        self._cleanups.callback(of.databases.finish_test, isolation)

    def enter(self, context: AbstractContextManager[object]) -> None:
        """Enter a context that is left as the test finishes, its own sessions being closed."""
        self._cleanups.enter_context(context)

    def give_data_to(self, session: Session) -> None:
        """Let ``session``, which is new, be the one that class data is attached to."""
        if self._of.data is not None:
            self.instances = self._of.data.instances(session)

    def opened(self) -> list[Any]:
        """Return the sessions and connection that were given to the test, as far as it has any."""
        connection = [self.given["connection"]] if "connection" in self.given else []
        return [*connection, *self.sessions.values()]

    def can_look(self) -> bool:
        """Tell whether connections can be used now, outside of the event loop if there is one."""
        loop = self._of.loop
        return loop is None or not loop.get_loop().is_running()

    def observe(self) -> Mapping[str, Observation]:
        """Return what is in the databases now, by alias."""
        loop = self._of.loop
        if loop is None:
            return observe_all(self._databases, self._isolation)
        return loop.run(greenlet_spawn(observe_all, self._databases, self._isolation))

    def observe_clean(self) -> Mapping[str, Observation] | None:
        """Return what was in the databases before the test, which is over.

        None, if they are to be rebuilt: class data may have other keys then.
        """
        of = self._of
        if of.clean_content is None and of.databases.intact:
            clean = of.start_test(self._test, self._method_name)
            try:
                of.clean_content = clean.observe()
            finally:
                with ExitStack() as last:
                    last.callback(clean.finish)
                    clean.abandon()
        return of.clean_content

    def keep(self) -> list[Kept]:
        """Keep the databases as they are now."""
        return keep_all(self._databases, self._test.id(), self._isolation)

    def abandon(self) -> None:
        """The test is over; its sessions and connections are about to be closed."""
        self._of.end_recording()
        self._databases.refuse(self._of.refusal)
        self._databases.abandon_test(self._isolation)

    def refuse_unused(self) -> None:
        """Raise if the test has called an assertion and not used it."""
        refuse_unused(self.pending)

    def check(self) -> None:
        """Raise if the test, all of which is over, only seems to have succeeded.

        :raises AssertionError: it has called an assertion and not used it.
        :raises BackendError: it has lost its connection, and caught what that raised.
        :raises StaleConnectionError: it has left a connection open in a sandbox, for good.
        """
        self.refuse_unused()
        refuse_loss(self._test.id(), self._databases)
        if self._unreturned():
            gc.collect()  # a cycle, such as that of a traceback, is nobody who uses a connection
        for left in self._unreturned():
            raise unreturned_connection(self._test.id(), left.last_sql, left.opened_at)

    def _unreturned(self) -> list[SandboxedConnection]:
        spare = self._of.spare
        ours = None if spare is None or spare.closed else spare.info[SOURCE]
        found = self._databases.unreturned(self._began, self._older)
        return [left for left in found if left is not ours]

    def finish(self) -> None:
        """Its sessions and connections are closed; leave the databases clean."""
        self._cleanups.close()
