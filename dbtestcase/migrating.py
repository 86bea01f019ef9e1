"""The database of one test of migrations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from .aliases import DEFAULT
from .databases import Databases
from .engines import SOURCE
from .environment import rebuilds
from .exceptions import OptionError, UsageError
from .lock_waits import LockWaits
from .provision import provisioner
from .schema import require_alembic
from .statements import UNRECORDED, caller
from .template_plan import Plan, plan

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .migrations import MigrationsSchema


class MigratingDatabase:
    """A database that a test takes from one revision to another.

    Where the backend has several databases, the test gets one of its own: a copy of a template
    at the revision that it starts at. Else it migrates inside its sandbox.

    :param case: the test class, whose ``databases`` are open.
    :param test: the name of the test.
    """

    def __init__(self, case: Any, databases: Databases, test: str) -> None:
        options = databases.options[DEFAULT]
        if options.migrations is None:
            raise OptionError('migrations is not set; write for example migrations = "alembic.ini"')
        self._case = case
        self._lock_waits = LockWaits(databases, lambda: test)
        self._options = options
        self._database = databases.by_alias[DEFAULT]
        features = self._database.backend.features
        self._moves = features.clones or not features.transactional_ddl
        self._has_started = False
        schema: Any = options.schema()
        self.schema: MigrationsSchema = schema

    @property
    def has_schemas(self) -> bool:
        """Whether all schemas that there are belong to the test."""
        return self._database.backend.features.schemas

    def go_to(self, revision: str) -> None:
        """Upgrade or downgrade to ``revision``, or begin there.

        :raises UsageError: there is no such revision, or what is given is none.
        """
        if not isinstance(revision, str) or not revision:
            raise UsageError(_NO_REVISION.format(revision=revision))
        is_relative = revision.startswith(("+", "-"))
        if not self._has_started:
            self._start_at("base" if is_relative else revision)
        if is_relative or self._has_started:
            self._do(lambda connection: self.schema.migrate(connection, revision))
        self._has_started = True

    def _start_at(self, revision: str) -> None:
        revision = self.schema.at(revision).revision
        if self._moves:
            self._move_to_database_at(revision)
        elif revision != "base":
            self._do(partial(self._repeat, revision))

    def _plan(self, revision: str) -> Plan:
        options = self._options._replace(revision=revision)
        return plan(self._case, DEFAULT, options, self._database.backend)

    def _repeat(self, revision: str, connection: Connection) -> None:
        database, fingerprint = self._database, self._plan(revision).fingerprint
        migrate = partial(self.schema.migrate, revision=revision)
        scripts, link = database.backend.scripts, database.sandbox.link
        if scripts is None:
            migrate(connection)
        else:
            scripts.repeat(fingerprint, connection, link, migrate, rebuild=rebuilds())

    def _move_to_database_at(self, revision: str) -> None:
        backend = self._database.backend
        key, fingerprint, build, lasting = self._plan(revision)
        template = provisioner.template(
            key, backend, fingerprint, build, rebuild=rebuilds(), lasting=lasting
        )
        self._database.move_to(template)

    def rehearse(self, scripts: list[Any], reached: list[Any]) -> None:
        """Upgrade by each of ``scripts``, downgrade, and upgrade again.

        :param reached: is given those that were tried, the last of which has failed if one has.
        """
        self._do(lambda connection: self.schema.rehearse(connection, scripts, reached))

    def restart(self, scripts: list[Any]) -> None:
        """Begin anew, and upgrade by ``scripts``."""
        if self._moves:
            self._move_to_database_at("base")
        self._do(lambda connection: self.schema.upgrade_by(connection, scripts))

    def upgrade_each(self, prepare: Callable[[Connection, str], None]) -> None:
        """Upgrade to each revision, and ``prepare`` before the next."""
        self._do(lambda connection: self.schema.upgrade_each(connection, prepare))

    def forget_connections(self, connection: Connection | None) -> None:
        """Close what is open, as drivers have prepared statements for the schema as it was.

        :param connection: is opened anew when it is used next.
        """
        if connection is not None:
            connection.invalidate()
        for engine in self._database.engines.all():
            engine.dispose()

    def _do(self, action: Callable[[Connection], None]) -> None:
        with self._database.connected() as connection:
            itself = connection.info.get(SOURCE, connection.connection.dbapi_connection)
            line = caller()  # which could not be found from where a coroutine has raised
            try:
                action(connection)
            except DBAPIError as error:
                self._lock_waits.explain(error, DEFAULT, itself, line)
                raise


def schema_differences(databases: Databases, alias: str, exclude: Collection[str]) -> str:
    """Return the operations of Alembic from a database of a test to its models, if any.

    :param exclude: patterns of names whose differences do not count.
    :raises OptionError: Alembic is not installed.
    :raises UsageError: there is no such database, or there are no models.
    """
    require_alembic("assertSchemaMatchesModels")
    from .migrations import differences

    options = databases.options[alias]
    schema: Any = None if options.migrations is None else options.schema()
    if schema is None and not options.metadata:
        raise UsageError(_NO_MODELS)
    with databases.by_alias[alias].connected() as connection:
        unrecorded = connection.execution_options(**UNRECORDED)
        return differences(unrecorded, schema, options.metadata, exclude)


_NO_REVISION = """\
migrate_to() was given {revision!r}, which is no revision.
  To fix this, name one by a string, such as "ae1027a6acf", "head", "base" or "-1"."""

_NO_MODELS = """\
There are no models to compare with.
  To fix this, write for example metadata = Base.metadata"""
