"""The assertion that accounts for all that a block changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..aliases import DEFAULT, alias_of, targets_by_alias
from ..exceptions import UsageError
from ..rows import Rows
from ..table_images import Changes, TableDifference, TableImage, differences, images
from ..wording import limited
from .base import BaseAssertions, Block_co, Outcome_co, as_list, is_count

__unittest = True  # unittest leaves frames of this module out of failures

#: A table, by the alias of its database and its name there.
Place = tuple[str, str]


class ChangeAssertions(BaseAssertions[Outcome_co, Block_co]):
    """What a block changes, in all tables."""

    def assertDatabaseChanges(
        self,
        expected: Mapping[Any, int | Changes],
        /,
        *,
        exclude: Iterable[Any] = (),
        using: str | None = None,
    ) -> Block_co:
        """Fail unless the ``with`` block changes just what is expected, and no other table.

        ``with self.assertDatabaseChanges({User: +1, "posts": -2}): ...``; ``async with`` in async
        tests. It compares the rows of all tables before and after the block, so it also counts
        updates, and a row that is inserted and deleted in the block does not count. It sees what
        others see: what the block leaves unflushed has not happened, nor has, where connections
        have transactions of their own, what it leaves uncommitted.

        :param expected: by mapped class, table or name: ``+1`` for one row inserted, ``-2`` for two
            rows deleted, each without any other change; or :class:`Changes`, as in
            ``Changes(inserted=1, updated=2)``. A class stands for its own table, not for those
            of the classes it inherits from. ``{}`` means that nothing changes.
        :param exclude: mapped classes, tables or names, one or several, that may change in any way.
        :param using: the alias of the one database to look into, instead of all.
        :raises UsageError: there is no such table or database, one table is named twice, or
            ``expected`` is something else.
        """
        block = self._changes(_checked(expected), as_list(exclude), using)
        return self._dbtestcase_block("assertDatabaseChanges", block)

    @contextmanager
    def _changes(
        self, expected: Mapping[Any, int | Changes], exclude: list[Any], using: str | None
    ) -> Iterator[None]:
        wanted = self._places(expected, using)
        excluded = self._places(dict.fromkeys(exclude, 0), using)
        aliases = list(targets_by_alias((), using, self._dbtestcase_databases().options))
        before = {alias: self._images(alias, excluded) for alias in aliases}
        yield
        changed = self._differences(before, excluded)
        lines = [
            _line(place, wanted.get(place, Changes()), changed.get(place))
            for place in sorted({*wanted, *changed})
            if wanted.get(place, Changes()) != _changes_in(changed.get(place))
        ]
        if lines:
            shown = limited(lines)
            kept = [place for place in wanted if wanted[place] == _changes_in(changed.get(place))]
            if kept:
                shown.append(f"as expected: {', '.join(limited(list(map(_title, kept))))}")
            differing = "".join(f"\n  {line}" for line in shown)
            raise self.failureException(
                f"The database did not change as expected:{differing}{self._unflushed()}"
            )

    def _places(
        self, expected: Mapping[Any, int | Changes], using: str | None
    ) -> dict[Place, Changes]:
        databases = self._dbtestcase_databases().options
        found: dict[Place, Changes] = {}
        for target, changes in expected.items():
            alias = alias_of(target, using, databases)
            with self._dbtestcase_connect(alias) as connection:
                rows = Rows(connection, databases, alias, target)
                rows.count()  # raises if there is no such table
            if (alias, rows.table) in found:
                raise UsageError(f"{rows.title} is named twice")
            found[alias, rows.table] = _as_changes(changes)
        return found

    def _images(self, alias: str, excluded: Iterable[Place]) -> dict[str, TableImage]:
        with self._dbtestcase_connect(alias) as connection:
            return images(
                connection, self._dbtestcase_databases().options[alias], _in(alias, excluded)
            )

    def _differences(
        self, before: Mapping[str, dict[str, TableImage]], excluded: Iterable[Place]
    ) -> dict[Place, TableDifference]:
        found = {}
        for alias in before:
            after = self._images(alias, excluded)
            with self._dbtestcase_connect(alias) as connection:
                for name, one in differences(connection, before[alias], after).items():
                    found[alias, name] = one
        return found


def _in(alias: str, places: Iterable[Place]) -> set[str]:
    return {name for other, name in places if other == alias}


def _checked(expected: Any) -> Mapping[Any, Any]:
    if not isinstance(expected, Mapping):
        raise UsageError(
            f"{expected!r} is no dictionary; write for example {{User: +1}}, or {{}} for no change"
        )
    return expected


def _as_changes(expected: int | Changes) -> Changes:
    if isinstance(expected, Changes):
        for what, count in expected._asdict().items():
            if not is_count(count):
                raise UsageError(
                    f"{what}={count!r} is no number of rows; write for example Changes({what}=1)"
                )
        return expected
    if not isinstance(expected, int) or isinstance(expected, bool):
        raise UsageError(f"{expected!r} is neither a number, such as +1, nor Changes(inserted=1)")
    return Changes(inserted=expected) if expected > 0 else Changes(deleted=-expected)


def _changes_in(difference: TableDifference | None) -> Changes:
    return Changes() if difference is None else difference.changes


def _line(place: Place, wanted: Changes, difference: TableDifference | None) -> str:
    return (
        f"{_title(place)}: {_changes_in(difference)}, expected {wanted}"
        f"{'' if difference is None else difference}"
    )


def _title(place: Place) -> str:
    alias, name = place
    return name if alias == DEFAULT else f"{name} ({alias})"
