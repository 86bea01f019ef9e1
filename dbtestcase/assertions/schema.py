"""The assertion that the tables are what the models say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from ..aliases import DEFAULT
from .base import BaseAssertions, Block_co, Outcome_co, as_list

__unittest = True  # unittest leaves frames of this module out of failures


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
            ``table.column``, whose differences do not count.
        :param using: the alias of the database, if it is not the default one.
        :raises UsageError: there are no models, or there is no such database.
        """
        patterns = as_list(exclude)

        def check() -> None:
            found = self._dbtestcase_differences(using or DEFAULT, patterns)
            if found:
                raise self.failureException(
                    "The schema is not what the models say. A revision that makes it so:\n\n"
                    f"def upgrade():\n{found}"
                )

        return self._dbtestcase_check("assertSchemaMatchesModels", check)
