"""The databases of one test class: what happens to one of them happens to all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from .aliases import DEFAULT, ByAlias, DatabaseOptions, databases_of, placing
from .backends import shown
from .class_database import ClassDatabase
from .engines import Engines
from .environment import rebuilds
from .exceptions import OptionError, UsageError
from .options import backend_of, check_isolation, used_isolations
from .provision import provisioner
from .references import resolve_engines
from .session_factories import router
from .template_plan import plan

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

    from .backends import Backend
    from .connections import SandboxedConnection
    from .event_loop import ClassLoop
    from .recording import Listeners


class Databases:
    """The databases of a test class, from its ``setUpClass`` to its class clean-ups.

    :param case: the test class, whose options have been checked.
    :param loop: its event loop, if it is asynchronous.
    """

    def __init__(self, case: Any, loop: ClassLoop | None) -> None:
        self.options = databases_of(case)
        self.engines: ByAlias[Engines] = ByAlias()
        self.given: ByAlias[Any] = ByAlias()  # engines that the class is given
        self.backends: ByAlias[Backend] = ByAlias()
        self._case = case
        self._loop = loop
        self._isolations = used_isolations(case)
        self.by_alias: ByAlias[ClassDatabase] = ByAlias()
        self._backends: dict[Backend, str] = {}
        self._redirected: dict[Engine, str] = {}
        self._made: dict[str, list[Table]] = {}  # by alias
        self._of_test: ExitStack | None = None  # what a running test has redirected
        self._lock = threading.Lock()
        with ExitStack() as cleanups:
            for alias, options in self.options.items():
                with placing(options.place):
                    self._open(alias, options, cleanups)
            self._cleanups = cleanups.pop_all()

    def close(self) -> None:
        """Undo everything, in reverse, whatever fails in between."""
        self._cleanups.close()

    def binds(self, alias: str) -> dict[Table, Any]:
        """Return the ``binds`` of a session that leads to ``alias`` what nothing else has."""
        return {
            table: self.given[other]
            for other, options in self.options.items()
            if other != alias
            for table in options.tables()
        }

    @contextmanager
    def listening(self, listeners_of: Callable[[str], Listeners]) -> Iterator[None]:
        """Let the engines that lead to each of them inside the block, now or later, have listeners.

        :param listeners_of: returns those for an alias.
        """
        with ExitStack() as stack:
            for alias, engines in self.engines.items():
                stack.enter_context(engines.listening(listeners_of(alias)))
            yield

    def router(self) -> Session:
        """Return a session that leads where the test's own does."""
        return router(self.given[DEFAULT], self.binds(DEFAULT))

    def alias_of(self, engine: Engine) -> str | None:
        """Return where ``engine``, or the one that it was derived from, leads, if to any."""
        for alias, engines in self.engines.items():
            for one in engines.all():
                if engine.pool is one.pool and engine.dialect is one.dialect:
                    return alias
        return None

    def late_tables(self) -> list[Table]:
        """Return the tables of the metadata that were defined when it had been applied."""
        return [
            table
            for alias, options in self.options.items()
            if options.migrations is None
            for table in set(options.tables()).difference(self._made[alias])
        ]

    def redirect_all(self, given: Any, alias: str | None) -> None:
        """:meth:`redirect` what is ``given`` as for the option ``engines``, and is not empty."""
        engines = resolve_engines(given)
        if not engines:
            raise UsageError(_NO_ENGINES.format(case=self._case.__qualname__))
        for engine in engines:
            self.redirect(engine, alias)

    def redirect(self, engine: Engine, alias: str | None = None) -> None:
        """Let ``engine`` lead to ``alias`` until the end of the test, or outside of one the class.

        :raises UsageError: there are several databases, and no alias; or it leads to another one.
        """
        with self._lock:
            other = self.alias_of(engine)
            if other is not None:
                if alias not in (None, other):
                    raise UsageError(f"{shown(repr(engine))} leads to {other!r} already")
                return
            if alias is None and len(self.engines) > 1:
                raise UsageError(_WHICH_DATABASE.format(engine=shown(repr(engine))))
            cleanups = self._cleanups if self._of_test is None else self._of_test
            cleanups.enter_context(self.engines[alias or DEFAULT].redirect(engine))

    @property
    def intact(self) -> bool:
        """Whether isolation was kept in all of them."""
        return all(database.sandbox.intact for database in self.by_alias.values())

    @property
    def keep_connections(self) -> bool:
        """Whether a connection that is open now can serve in the next test."""
        moved = any(database.moved for database in self.by_alias.values())
        return all(map(self._stays_in_sandbox, self._backends)) and self.intact and not moved

    def refuse(self, refusal: str) -> None:
        """Refuse connections from now on with that message, or admit them if it is empty."""
        for database in self.by_alias.values():
            database.refusal = refusal

    def rebuild(self) -> None:
        """Replace all of them, also those whose isolation was kept: class data is in each."""
        self._each(ClassDatabase.rebuild)

    def start_test(self, test: str, isolation: str) -> None:
        """Make all ready for ``test``, or none."""
        with placing(f"{test}: "):
            for backend in self._backends:
                check_isolation(backend, isolation)
        with ExitStack() as undo:
            for database in self.by_alias.values():
                database.start_test(test, isolation)
                undo.callback(database.finish_test, isolation)
                undo.callback(database.abandon_test, isolation)
            undo.pop_all()
        self._of_test = ExitStack()

    def uncommitted(self) -> list[str]:
        """Return the statements of connections that have written and not committed."""
        return [what for database in self.by_alias.values() for what in database.uncommitted()]

    def unreturned(self, moment: int, older: Set[object]) -> list[SandboxedConnection]:
        """Return the connections taken since ``moment`` and not given back, but by ``older``."""
        of_each = [engines.unreturned(moment, older) for engines in self.engines.values()]
        return [left for lefts in of_each for left in lefts]

    def abandon_test(self, isolation: str) -> None:
        """Undo what a test did in the sandboxes; its sessions may still be open."""
        self._each(lambda database: database.abandon_test(isolation))

    def finish_test(self, isolation: str) -> None:
        """Undo what a test did in copies; its sessions are closed."""
        with ExitStack() as last:
            last.callback(self._each, lambda database: database.finish_test(isolation))
            if self._of_test is not None:
                last.push(self._of_test)
            self._of_test = None

    def _each(self, action: Callable[[ClassDatabase], None]) -> None:
        """Do ``action`` to each, whatever that raises, and only then raise the first error."""
        errors: list[BaseException] = []
        for database in self.by_alias.values():
            try:
                action(database)
            except BaseException as error:
                errors.append(error)
        if errors:
            _raise_first(errors)

    def _open(self, alias: str, options: DatabaseOptions, cleanups: ExitStack) -> None:
        backend = backend_of(self._case, options.database)
        backend.driver(is_async=self._loop is not None)
        other = self._backends.setdefault(backend, alias)
        if other != alias and backend.features.one_database:
            raise OptionError(
                f"{backend.title} has room for one database only, which is {other!r}; "
                "write another database"
            )
        _check_schemas(backend, options, self._isolations)
        self._made[alias] = options.tables()
        key, fingerprint, build, lasting = plan(self._case, alias, options, backend)
        database = provisioner.borrow(
            key, backend, fingerprint, build, rebuild=rebuilds(), lasting=lasting
        )
        cleanups.callback(provisioner.give_back, key, database)
        database.open(
            all_in_sandbox=self._stays_in_sandbox(backend),
            loop=self._loop,
            reset_sequences=self._case.reset_sequences,
        )
        cleanups.callback(database.close)
        if not self._stays_in_sandbox(backend):
            cleanups.enter_context(database.engines.listening(database.between_tests.listeners()))
        self.by_alias[alias] = database
        self.backends[alias] = backend
        self.engines[alias] = database.engines
        self.given[alias] = self._own(database.engines)
        for engine in resolve_engines(options.engines):
            other = self._redirected.setdefault(engine, alias)
            if other != alias:
                raise OptionError(f"engines: {shown(repr(engine))} leads to {other!r} already")
            cleanups.enter_context(database.engines.redirect(engine))

    def _stays_in_sandbox(self, backend: Backend) -> bool:
        """Tell whether nothing is ever committed, not even by DDL that restarts sequences."""
        restarts = self._case.reset_sequences and not backend.features.transactional_ddl
        used = self._isolations & backend.features.isolations
        return used == {"transaction"} and not restarts

    def _own(self, engines: Engines) -> Any:
        """Return an engine for the class, so that listeners that are put on it end with it."""
        engine: Any = engines.sync_engine if self._loop is None else engines.async_engine
        return engine.execution_options()


_NO_ENGINES = """\
{case}: redirect_engines() was given no engine.
  To fix this, write for example redirect_engines(app.engine)"""

_WHICH_DATABASE = """\
{engine} is used by the application, and nothing says which of the databases it stands for.
  To fix this, name it in the engines of one of the databases, or write for example \
redirect_engines(engine, alias="default")"""


def _check_schemas(backend: Backend, options: DatabaseOptions, isolations: set[str]) -> None:
    """Refuse tables that would be made outside of the test's database, or of its schema."""
    named = [str(table) for table in options.tables() if table.schema is not None]
    if named and not backend.features.schemas:
        raise OptionError(
            f"metadata has {named[0]}, and what {backend.title} would take for its schema is not "
            "the test's.\n  To fix this, leave the schema out, and let the application name it by "
            "schema_translate_map"
        )
    if named and "schema" in isolations & backend.features.isolations:
        raise OptionError(
            f"metadata has {named[0]}, which isolation = 'schema' cannot put into another schema; "
            "use 'template'"
        )


def _raise_first(errors: list[BaseException]) -> None:
    """Raise the first of ``errors``, with the others in notes; an interruption goes before all."""
    try:
        first, *others = sorted(errors, key=lambda error: isinstance(error, Exception))
        for other in others:
            first.add_note(f"Another database failed too: {type(other).__name__}: {other}")
        raise first
    finally:
        errors.clear()  # each of them knows this frame
