"""Test cases for migrations."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import inspect
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.util import greenlet_spawn

from .assertions import PendingCall
from .async_case import AsyncDatabaseTestCase
from .base_case import BaseDatabaseTestCase
from .case import DatabaseTestCase
from .exceptions import OptionError, UsageError
from .hooks import overrides
from .migrating import MigratingDatabase
from .revision_tests import RevisionTests
from .statements import UNRECORDED
from .tables import as_found, reflected
from .wording import suggestion

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection


class BaseMigrationTestCase(BaseDatabaseTestCase):
    """What both test cases for migrations have in common."""

    _dbtestcase_revision = "base"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        place = f"{cls.__module__}.{cls.__qualname__}"
        if cls.databases is not None:
            raise OptionError(_SEVERAL.format(place=place, aliases=list(cls.databases)))
        case = DatabaseTestCase if issubclass(cls, DatabaseTestCase) else AsyncDatabaseTestCase
        for hook in ("setUpTestData", "asyncSetUpTestData"):
            if hasattr(case, hook) and overrides(cls, case, hook):
                raise OptionError(_CLASS_DATA.format(place=place, hook=hook))

    def _dbtestcase_migrating(self) -> MigratingDatabase:
        """Return the database of this test, which begins with the first call.

        :raises UsageError: the test has used another database before.
        """
        databases = self._dbtestcase_need_class("migrate_to").databases
        test = self._dbtestcase_need_test("migrate_to")
        if test.migrating is None:
            if test.opened():
                raise UsageError(
                    f"{self.id()}: migrate_to() was called after self.session or self.connection, "
                    "which lead to the empty database of the class.\n"
                    "  To fix this, migrate first"
                )
            test.migrating = MigratingDatabase(type(self), databases, self.id())
        return test.migrating


class MigrationTestCase(BaseMigrationTestCase, DatabaseTestCase):
    """A test case whose tests begin with an empty database and migrate it.

    A subclass that names its ``migrations`` has tests of all revisions: those of
    :class:`~dbtestcase.revision_tests.RevisionTests`. Set one to None to do without it.
    """

    #: Whether the class has tests of all revisions, beside its own.
    standard_tests: ClassVar[bool] = True

    #: Values for the rows that ``test_every_revision_upgrades_tables_with_rows`` makes up, by
    #: column and table, such as ``{"orders": {"status": "open"}}``; None for a table without one.
    sample_rows: ClassVar[Mapping[str, Mapping[str, Any] | None]] = {}

    #: What ``test_models_match_the_migrated_schema`` gives to :meth:`assertSchemaMatchesModels`.
    compare_exclude: ClassVar[Iterable[str]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, test in vars(RevisionTests).items():
            if name.startswith("test_") and cls.migrations is not None:
                if cls.standard_tests and not hasattr(cls, name):
                    setattr(cls, name, test)
                elif not cls.standard_tests and getattr(cls, name, None) is test:
                    setattr(cls, name, None)

    def migrate_to(self, revision: str) -> None:
        """Upgrade or downgrade the test's database.

        It begins as an empty one, or as a copy of a template at the first ``revision`` that the
        test migrates to. What is open in ``self.session`` and ``self.connection`` is committed
        first, as whatever a migration finds has been.

        :param revision: as for ``alembic upgrade`` or ``alembic downgrade``, such as ``"ae1027"``,
            ``"head"``, ``"base"`` or ``"-1"``.
        :raises OptionError: the migrations are not there, or ``env.py`` cannot be run.
        :raises UsageError: there is no such revision.
        """
        migrating = self._dbtestcase_migrating()
        test = self._dbtestcase_need_test("migrate_to")
        for opened in test.opened():
            opened.commit()
        migrating.go_to(revision)
        migrating.forget_connections(test.given.get("connection"))

    def table(self, name: str) -> Table:
        """Return a table as it is in the database now.

        :raises UsageError: there is none of that name.
        """
        with self.engine.connect() as connection:
            return _reflected(connection, name)


class AsyncMigrationTestCase(BaseMigrationTestCase, AsyncDatabaseTestCase):
    """:class:`~dbtestcase.MigrationTestCase` for ``async`` tests of single migrations.

    The tests of all revisions are for a ``MigrationTestCase``.
    """

    def migrate_to(self, revision: str) -> Awaitable[None]:
        """Upgrade or downgrade the test's database: see :meth:`MigrationTestCase.migrate_to`."""
        call = partial(self._dbtestcase_migrate_to, revision)
        pending: Awaitable[None] = self._dbtestcase_expect(
            PendingCall("migrate_to", call, "migrated")
        )
        return pending

    def table(self, name: str) -> Awaitable[Table]:
        """Return a table as it is in the database now.

        :raises UsageError: there is none of that name.
        """
        call = partial(self._dbtestcase_table, name)
        pending: Awaitable[Table] = self._dbtestcase_expect(PendingCall("table", call, "read"))
        return pending

    async def _dbtestcase_migrate_to(self, revision: str) -> None:
        migrating = self._dbtestcase_migrating()
        test = self._dbtestcase_need_test("migrate_to")
        for opened in test.opened():
            await opened.commit()
        lifecycle = self._dbtestcase_lifecycle
        if lifecycle.spare is not None:
            await lifecycle.spare.close()
        await greenlet_spawn(migrating.go_to, revision)
        connection = test.given.get("connection")
        await greenlet_spawn(
            migrating.forget_connections, connection and connection.sync_connection
        )
        if lifecycle.spare is not None:
            lifecycle.spare = await self.engine.connect()

    async def _dbtestcase_table(self, name: str) -> Table:
        async with self.engine.connect() as connection:
            return await connection.run_sync(_reflected, name)


def _reflected(connection: Connection, name: str) -> Table:
    if not isinstance(name, str):
        raise UsageError(f'table() was given {name!r}; write the name of a table, such as "users"')
    connection = connection.execution_options(**UNRECORDED)
    try:
        return reflected(connection, as_found(connection, name))
    except NoSuchTableError:
        schema = name.rpartition(".")[0]
        prefix = schema and f"{schema}."
        names = inspect(connection).get_table_names(schema or None)
        hint = suggestion(name, [f"{prefix}{one}" for one in names], "there are:")
        raise UsageError(f"there is no table {name!r}; {hint}") from None


_SEVERAL = """\
{place}: databases: a test of migrations has one database, and the class has {aliases}.
  To fix this, write a class for each history, with its database, metadata and migrations on the \
class, and databases = None if a base class has them"""

_CLASS_DATA = """\
{place}: {hook} would put rows into the empty database of the class, which a test leaves when it \
migrates.
  To fix this, let the test put them there after migrate_to()"""
