"""The phases of a test class and of a test, whatever their colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from .class_database import ClassDatabase, RunCoroutine
from .engines import resolve_engines
from .options import backend_of, isolation_of, used_isolations
from .provision import provisioner
from .schema import metadata_in, schema_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.orm import Session

    from .class_data import ClassData, Instances, InstancesOf

_SCHEMA_APPLIED = "dbtestcase_schema_applied"


class ClassLifecycle:
    """A test class from its ``setUpClass`` to its class clean-ups.

    :param case: the test class, whose options have been checked.
    :param is_async: the colour of its engine.
    :param run: runs a coroutine in the event loop of the class.
    :param load_data: makes the class data and calls :meth:`keep_data`.
    """

    def __init__(
        self, case: Any, *, is_async: bool, run: RunCoroutine, load_data: Callable[[], None]
    ) -> None:
        self._case = case
        self._load_data = load_data
        self._data: ClassData | None = None
        self.given: dict[str, Any] = {}  # what the class was given, by attribute
        self.spare: AsyncConnection | None = None  # kept open for the next test that asks for one
        backend_of(case).driver_url(is_async=is_async)
        with ExitStack() as cleanups:
            self._database = _borrow(case, cleanups)
            self._all_in_sandbox = used_isolations(case) == {"transaction"}
            self._database.open(all_in_sandbox=self._all_in_sandbox, run=run)
            cleanups.callback(self._database.close)
            self.engines = self._database.engines
            self.engines.own(is_async=is_async)
            for engine in resolve_engines(case.engines):
                cleanups.enter_context(self.engines.redirect(engine))
            self._cleanups = cleanups.pop_all()

    def close(self) -> None:
        """Undo everything, in reverse, whatever fails in between."""
        with self._cleanups:
            self._forget_data()

    def load_data(self) -> None:
        """Let ``setUpTestData`` put class data on the class."""
        self._before = dict(vars(self._case))
        self._load_data()

    def keeps_connections(self) -> bool:
        """Tell whether a connection that is open now can serve in the next test."""
        return self._all_in_sandbox and self._database.sandbox.intact

    def keep_data(self, session: Session, instances_of: InstancesOf) -> None:
        """Keep what ``setUpTestData``, having committed in ``session``, put on the class.

        :param instances_of: returns the instances that a test has, or None outside of one.
        """
        from .class_data import ClassData

        self._data = ClassData(self._case, self._before, instances_of)
        self._data.capture(session)

    @contextmanager
    def running(self, refusal: str) -> Iterator[None]:
        """Refuse connections with that message while a test runs, except as it is set up."""
        self._database.refusal = refusal
        try:
            yield
        finally:
            self._database.refusal = ""

    def start_test(self, test: Any, method_name: str) -> TestLifecycle:
        """Make the database ready for one test."""
        refusal, self._database.refusal = self._database.refusal, ""
        if not self._database.sandbox.intact:
            self._forget_data()
            self._database.rebuild()
            self.load_data()
        isolation = isolation_of(self._case, method_name)
        self._database.start_test(test.id(), isolation)
        return TestLifecycle(self._database, isolation, self._data, refusal)

    def _forget_data(self) -> None:
        if self._data is not None:
            self._data.forget()
            self._data = None


class TestLifecycle:
    """One test, from its ``setUp`` to its clean-ups."""

    def __init__(
        self, database: ClassDatabase, isolation: str, data: ClassData | None, refusal: str
    ) -> None:
        self._database = database
        self._isolation = isolation
        self._data = data
        self._refusal = refusal
        self.instances: Instances | None = None  # of class data
        self.given: dict[str, Any] = {}  # what the test was given, by attribute

    def give_data_to(self, session: Session) -> None:
        """Let ``session``, which is new, be the one that class data is attached to."""
        if self._data is not None:
            self.instances = self._data.instances(session)

    def opened(self) -> list[Any]:
        """Return the session and connection that were given to the test, as far as it has any."""
        return [self.given[name] for name in ("connection", "session") if name in self.given]

    def abandon(self) -> None:
        """The test is over; its sessions and connections are about to be closed."""
        self._database.refusal = self._refusal
        self._database.abandon_test(self._isolation)

    def finish(self) -> None:
        """Its sessions and connections are closed; leave the database clean."""
        self._database.finish_test(self._isolation)


def apply_schema(case: Any, connection: Connection) -> None:
    """Create the tables of ``case``, unless they have been."""
    if not connection.info.get(_SCHEMA_APPLIED):
        schema_of(metadata_in(case.metadata)).apply(connection)
        connection.info[_SCHEMA_APPLIED] = True


def _borrow(case: Any, cleanups: ExitStack) -> ClassDatabase:
    def build(connection: Connection) -> None:
        case.setUpDatabase(connection)
        apply_schema(case, connection)

    backend = backend_of(case)
    metadata = metadata_in(case.metadata)
    fingerprint = schema_of(metadata).fingerprint(backend.dialect)
    hooks = tuple(
        vars(base)["setUpDatabase"] for base in case.__mro__ if "setUpDatabase" in vars(base)
    )
    key = (backend, metadata, fingerprint, hooks)
    database = provisioner.borrow(key, backend, build)
    cleanups.callback(provisioner.give_back, key, database)
    return database
