"""What of a schema decides whether a transaction holds, and shows, all that statements do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple

_ROUTINES = (
    "SELECT routine_name, routine_definition FROM information_schema.routines"
    " WHERE routine_schema = DATABASE()"
)
_TRIGGERS = (
    "SELECT event_object_table, action_statement FROM information_schema.triggers"
    " WHERE trigger_schema = DATABASE()"
)
_VIEWS = (
    "SELECT table_name, view_definition FROM information_schema.views"
    " WHERE table_schema = DATABASE()"
)
_AT_ONCE = (
    "SELECT table_name, engine FROM information_schema.tables JOIN information_schema.engines"
    " USING (engine) WHERE table_schema = DATABASE() AND COALESCE(transactions, 'NO') <> 'YES'"
    "   AND table_type = 'BASE TABLE'"
)
_SEARCHED = (
    "SELECT DISTINCT table_name FROM information_schema.statistics"
    " WHERE table_schema = DATABASE() AND index_type = 'FULLTEXT'"
)


class Body(NamedTuple):
    """What is executed for whoever uses ``name``: a routine, a view, a table with a trigger."""

    name: str
    text: str


class Schema:
    """A database in which links work, as it is when first asked for."""

    #: Returns the rows of a statement, executed on one of the links.
    fetch: Callable[[str], list[Any]]

    @cached_property
    def functions(self) -> re.Pattern[str]:
        """What finds the routines, which may write."""
        return _any_of(body.name for body in self._routines)

    @cached_property
    def at_once(self) -> re.Pattern[str]:
        """What finds tables that know no transactions, and whatever may write to them."""
        return self._any_leading_to(name for name, _ in self._without_transactions)

    @cached_property
    def without_savepoints(self) -> re.Pattern[str]:
        """What finds those that, once read in a transaction, let no savepoint be set in it."""
        return self._any_leading_to(
            name for name, engine in self._without_transactions if engine == "Aria"
        )

    @cached_property
    def searched(self) -> re.Pattern[str]:
        """What finds tables with FULLTEXT indexes, and whatever may write to them."""
        return self._any_leading_to(name for (name,) in self.fetch(_SEARCHED))

    @cached_property
    def concealed(self) -> str:
        """All that a statement may execute without saying so."""
        return ";".join(body.text for body in (*self._routines, *self._triggers))

    @cached_property
    def _without_transactions(self) -> list[Any]:
        return self.fetch(_AT_ONCE)

    @cached_property
    def _routines(self) -> list[Body]:
        return self._bodies(_ROUTINES)

    @cached_property
    def _triggers(self) -> list[Body]:
        return self._bodies(_TRIGGERS)

    def _bodies(self, query: str) -> list[Body]:
        return [Body(name, text or "") for name, text in self.fetch(query)]

    def _any_leading_to(self, tables: Iterable[str]) -> re.Pattern[str]:
        found = set(tables)
        if found:
            bodies = [*self._routines, *self._triggers, *self._bodies(_VIEWS)]
            count = 0
            while len(found) > count:
                count, pattern = len(found), _any_of(found)
                found.update(body.name for body in bodies if pattern.search(body.text))
        return _any_of(found)


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    alternatives = "|".join(map(re.escape, names))
    return re.compile(
        rf"(?<!\w)(?:{alternatives})(?!\w)" if alternatives else "(?!)", re.IGNORECASE
    )
