"""The assertion that the tables are what the models say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect

from ..aliases import DEFAULT
from ..exceptions import UsageError
from .base import BaseAssertions, Block_co, Outcome_co, as_list

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from ..aliases import DatabaseOptions

_WILDCARDS = {*"*?["}


class SchemaAssertions(BaseAssertions[Outcome_co, Block_co]):
    """What the schema is, and what it should be."""

    @abstractmethod
    def _dbtestcase_differences(self, alias: str, exclude: list[str]) -> str:
        """Return the operations from one of the test's databases to its models."""

    def assertSchemaMatchesModels(
        self, *, exclude: Iterable[str] = (), using: str | None = None
    ) -> Outcome_co:
        """Fail if Alembic would find something to do that makes the database as the models say.

        ``self.assertSchemaMatchesModels(exclude=["spatial_ref_sys", "users.legacy_*"])``

        The models are the ``metadata`` of the class, or, where there is none, the
        ``target_metadata`` of ``env.py``. Types and server defaults are compared, and what
        ``env.py`` tells Alembic about comparing holds. It needs ``dbtestcase[alembic]``.

        :param exclude: patterns of names of tables, indexes and constraints, and of columns as
            ``table.column``, whose differences do not count. What they name need not be there.
        :param using: the alias of the database, if it is not the default one.
        :raises UsageError: there are no models, there is no such database, or a name to exclude
            is nearly one that is there.
        """
        patterns = as_list(exclude)

        def check() -> None:
            self._check_spelling(using or DEFAULT, patterns)
            found = self._dbtestcase_differences(using or DEFAULT, patterns)
            if found:
                raise self.failureException(
                    "The schema is not what the models say. A revision that makes it so:\n\n"
                    f"def upgrade():\n{found}"
                )

        return self._dbtestcase_check("assertSchemaMatchesModels", check)

    def _check_spelling(self, alias: str, patterns: Iterable[Any]) -> None:
        names = [one for one in patterns if not (isinstance(one, str) and set(one) & _WILDCARDS)]
        if not names:
            return
        with self._dbtestcase_connect(alias) as connection:
            known = _names(connection, self._dbtestcase_databases().options[alias])
        for name in names:
            if not isinstance(name, str):
                raise UsageError(f'{name!r} is no pattern of names; write for example "legacy_*"')
            near = get_close_matches(name, known, n=1, cutoff=0.8)
            if near and name not in known:
                raise UsageError(f"exclude has {name!r}; did you mean {near[0]!r}?")


def _names(connection: Connection, options: DatabaseOptions) -> set[str]:
    """Return the names that are in the database or in its metadata."""
    inspector = inspect(connection)
    known = {*inspector.get_table_names()}
    known |= {
        str(name)
        for what in ("indexes", "unique_constraints", "foreign_keys", "check_constraints")
        for found in getattr(inspector, f"get_multi_{what}")().values()
        for one in found
        if (name := one["name"])
    }
    reflected = inspector.get_multi_columns().items()
    known |= {f"{table}.{column['name']}" for (_, table), found in reflected for column in found}
    for table in options.tables():
        named: list[Any] = [table, *table.indexes, *table.constraints]
        known |= {str(one.name) for one in named if one.name}
        known |= {f"{table.name}.{column.name}" for column in table.columns}
    return known
