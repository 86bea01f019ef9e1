"""A schema as migrations make it, at any revision."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from ..exceptions import OptionError, UsageError
from ..wording import counted, limited, suggestion
from .environment import run
from .source import MigrationSource

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect

HEADS = "heads"
BASE = "base"


class MigrationsSchema:
    """The tables that the migrations of ``source`` make, up to ``revision``.

    :param revision: its full identifier; ``"heads"`` stands for all and ``"base"`` for none.
    """

    def __init__(self, source: MigrationSource, revision: str = HEADS) -> None:
        self.source = source
        self.revision = revision

    def at(self, revision: str) -> MigrationsSchema:
        """Return the same at another revision.

        :raises UsageError: there is no such revision, or several are meant.
        """
        if revision not in (HEADS, BASE):
            revision = self._script(revision).revision
        return MigrationsSchema(self.source, revision)

    def fingerprint(self, dialect: Dialect) -> str:
        if self.revision == BASE:
            return f"no migrations, {dialect.name}"
        scripts = None if self.revision == HEADS else self._needed()
        return f"{self.revision}, {dialect.name}, {self.source.digest(scripts)}"

    def apply(self, connection: Connection) -> None:
        if self.revision != BASE:
            self.migrate(connection, self.revision)

    def migrate(self, connection: Connection, revision: str) -> None:
        """Upgrade or downgrade to ``revision``, from wherever the database stands.

        :param revision: anything that ``alembic upgrade`` or ``alembic downgrade`` takes.
        :raises OptionError: there is nothing that could be done.
        :raises UsageError: there is no such revision, or several are meant.
        """
        self._known()
        if revision not in (HEADS, BASE) and not revision.startswith(("+", "-")):
            revision = self._script(revision).revision

        def steps(heads: tuple[str, ...], context: MigrationContext) -> list[RevisionStep]:
            try:
                return _steps(self.source.scripts, revision, heads)
            except CommandError as error:  # such as of more steps than there are
                raise UsageError(f"{self.source.title}: {error}") from None

        run(self.source, connection, steps, target=revision)

    def rehearse(
        self, connection: Connection, scripts: list[Script], reached: list[Script]
    ) -> None:
        """Upgrade by each of ``scripts``, downgrade, and upgrade again.

        Each of them has a transaction of its own, as if it were deployed by itself.

        :param reached: is given those that were tried, the last of which has failed if one has.
        """
        revisions = self.source.scripts.revision_map
        is_again = False

        def steps(heads: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
            nonlocal is_again
            for script in scripts:
                reached.append(script)
                up = MigrationStep.upgrade_from_script(revisions, script)
                yield from (up, MigrationStep.downgrade_from_script(revisions, script))
                is_again = True
                yield up
                is_again = False

        try:
            run(self.source, connection, steps, commits_each=True)
        except Exception as error:
            if is_again:
                error.add_note(_LEFT_SOMETHING)
            raise

    def upgrade_by(self, connection: Connection, scripts: list[Script]) -> None:
        """Upgrade by those of ``scripts`` that have not been applied."""
        revisions = self.source.scripts.revision_map

        def steps(heads: tuple[str, ...], context: MigrationContext) -> list[RevisionStep]:
            applied = _applied(self.source.scripts, heads)
            left = [script for script in scripts if script.revision not in applied]
            return [MigrationStep.upgrade_from_script(revisions, script) for script in left]

        run(self.source, connection, steps)

    def upgrade_each(
        self, connection: Connection, prepare: Callable[[Connection, str], None]
    ) -> None:
        """Upgrade to each revision in a transaction of its own.

        :param prepare: is called before each, with a connection and the name of Alembic's table.
        """

        self.source.revisions()

        def steps(heads: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
            assert context.connection is not None
            for step in _steps(self.source.scripts, HEADS, heads):
                schema = context.version_table_schema
                table = f"{schema}.{context.version_table}" if schema else context.version_table
                prepare(context.connection, table)
                context.connection.commit()
                yield step

        run(self.source, connection, steps, commits_each=True)

    def _needed(self) -> list[Script]:
        with self.source.on_path(), self.source.explaining():
            return [step.revision for step in _steps(self.source.scripts, self.revision, ())]

    def _known(self) -> list[str]:
        known = [script.revision for script in self.source.revisions()]
        if not known:
            raise OptionError(
                f"{self.source.title}: there is no revision in {self.source.where()}.\n"
                "  To fix this, write the first: alembic revision --autogenerate"
            )
        return known

    def _script(self, revision: str) -> Script:
        known = self._known()
        scripts = self.source.scripts
        try:
            with self.source.on_path():
                script: Script | None = scripts.get_revision(revision)
        except CommandError as error:
            what = _ambiguity(revision, known) or (
                f"{error}; {suggestion(revision, known, 'there is')}"
            )
            raise UsageError(f"{self.source.title}: {what}") from None
        if script is None:
            raise UsageError(f"{self.source.title}: {revision!r} is no revision")
        return script


def _ambiguity(revision: str, known: list[str]) -> str:
    """Return what is wrong with ``revision`` if it stands for several, else nothing."""
    if two := re.fullmatch(r"([^@]+?)(?::|(?=[+-]))(.+)", revision):
        return (
            f"migrate_to takes one revision, and {revision!r} has two.\n"
            f"  To fix this, write two calls: migrate_to({two[1]!r}) and migrate_to({two[2]!r})"
        )
    meant = [one for one in known if one.startswith(revision)]
    if len(meant) < 2:
        return ""
    listed = ", ".join(limited(meant))
    return f"{counted(len(meant), 'revision')} begin with {revision!r}: {listed}; write more of it"


_LEFT_SOMETHING = """\
That was its second upgrade: its downgrade has left something that is in the way.
  To fix this, let downgrade() undo all that upgrade() does"""


@lru_cache(maxsize=64)
def _source(option: Any, directory: Path) -> MigrationSource:
    return MigrationSource(option)


def migrations_schema(option: Any, revision: str) -> MigrationsSchema:
    """Return the schema for the value of the ``migrations`` option.

    :param revision: which one it is at, ``"heads"`` or ``"base"``.
    :raises OptionError: there is nothing where ``option`` points.
    """
    option = os.fspath(option) if isinstance(option, os.PathLike) else option
    return MigrationsSchema(_source(option, Path.cwd()), revision)


def _steps(
    scripts: ScriptDirectory, destination: str, heads: tuple[str, ...]
) -> list[RevisionStep]:
    """Return the steps to ``destination``, up or down.

    The two methods are what Alembic's commands call, and what its documentation of
    ``EnvironmentContext`` tells to call; there are no public ones.
    """
    current: Any = heads
    if (
        destination == BASE
        or destination.startswith("-")
        or destination in _applied(scripts, heads)
    ):
        return scripts._downgrade_revs(destination, current)
    return scripts._upgrade_revs(destination, current)


def _applied(scripts: ScriptDirectory, heads: tuple[str, ...]) -> set[str]:
    upper: Any = heads
    none: Any = ()
    return {step.revision.revision for step in scripts._upgrade_revs(upper, none)}
