"""What a database contains, and what statements may write to in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from typing import Any, NamedTuple

from .mysql_statements import kind_of

Execute = Callable[[str], list[Any]]

_FROM = "FROM information_schema."
_COLUMNS = f"""
SELECT table_name, column_name {_FROM}columns JOIN information_schema.tables
 USING (table_schema, table_name)
 WHERE table_schema = '{{0}}' AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
   AND COALESCE(generation_expression, '') = '' ORDER BY table_name, ordinal_position"""
_TABLES = f"""
SELECT table_name, auto_increment, table_type, table_rows {_FROM}tables
 WHERE table_schema = '{{0}}'"""
_AT_ONCE = f"""
SELECT table_name {_FROM}tables JOIN information_schema.engines USING (engine)
 WHERE table_schema = '{{0}}' AND COALESCE(transactions, 'NO') <> 'YES'"""
_PERIODS = f"""
SELECT table_name, column_name, column_type {_FROM}columns WHERE table_schema = '{{0}}'
 AND generation_expression IN ('ROW START', 'ROW END') ORDER BY generation_expression DESC"""
_FOLLOWERS = f"""
SELECT referenced_table_name, table_name {_FROM}referential_constraints
 WHERE constraint_schema = '{{0}}'
   AND NOT (update_rule IN ('RESTRICT', 'NO ACTION') AND delete_rule IN ('RESTRICT', 'NO ACTION'))
"""
_INDIRECT = f"""
SELECT table_name {_FROM}views WHERE table_schema = '{{0}}'
 UNION SELECT routine_name {_FROM}routines WHERE routine_schema = '{{0}}'"""
_FEW = 20
_HIDDEN_PERIOD = [("row_start", ""), ("row_end", "")]
_EVENTS = f"SELECT event_name {_FROM}events WHERE event_schema = '{{0}}'"
_TRIGGERS = f"""
SELECT trigger_name, event_object_table {_FROM}triggers
 WHERE trigger_schema = '{{0}}' ORDER BY action_order"""
_SHAPE = [
    ("tables", "table", "table_name, table_type, engine, table_collation"),
    (
        "columns",
        "table",
        "table_name, ordinal_position, column_name, column_type, is_nullable, column_default,"
        " extra, collation_name",
    ),
    ("statistics", "table", "table_name, index_name, seq_in_index, column_name, non_unique"),
    ("table_constraints", "constraint", "table_name, constraint_name, constraint_type"),
    ("key_column_usage", "constraint", "constraint_name, column_name, referenced_column_name"),
    ("referential_constraints", "constraint", "constraint_name, update_rule, delete_rule"),
    ("views", "table", "table_name, view_definition"),
    ("triggers", "trigger", "trigger_name, event_object_table, action_statement"),
    ("routines", "routine", "routine_name, routine_type, routine_definition"),
    ("events", "event", "event_name, event_definition, status"),
]


class Trigger(NamedTuple):
    """A trigger on ``table``."""

    name: str
    table: str


class Size(NamedTuple):
    """How far a table has grown."""

    counter: int  # the next value of AUTO_INCREMENT
    rows: int  # about


class Positions(NamedTuple):
    """The next value of AUTO_INCREMENT, by table, and of each sequence."""

    counters: dict[str, int]
    sequences: dict[str, int]


class Catalog:
    """What is in the database ``name``, as it is when first asked for.

    :param execute: returns the rows of a statement.
    """

    def __init__(self, name: str, execute: Execute) -> None:
        self.name = name
        self.execute = execute

    @cached_property
    def columns(self) -> dict[str, list[str]]:
        """The tables, and of each the columns that can be written to."""
        found: dict[str, list[str]] = {}
        for table, column in self._select(_COLUMNS):
            found.setdefault(table, []).append(column)
        return found

    @cached_property
    def filled(self) -> set[str]:
        """The tables that have rows."""
        queries = [
            f"SELECT {_text(table)}, EXISTS (SELECT 1 FROM {self.all_of(table)})"  # noqa: S608
            for table in self.columns
        ]
        some = (queries[start : start + 100] for start in range(0, len(queries), 100))
        rows = (row for chunk in some for row in self.execute(" UNION ALL ".join(chunk)))
        return {table for table, has_rows in rows if has_rows}

    @cached_property
    def counters(self) -> dict[str, int]:
        """The next value of AUTO_INCREMENT, by table."""
        return {table: size.counter for table, size in self._sizes([""]).items()}

    def sizes_of(self, tables: Collection[str]) -> dict[str, Size]:
        """Return how far each of ``tables`` has grown now.

        To look one up takes the server no time, and to look at all of them more with each.
        """
        if len(tables) <= _FEW:
            return self._sizes([f" AND table_name = {_text(table)}" for table in tables])
        return {table: size for table, size in self._sizes([""]).items() if table in tables}

    def _sizes(self, conditions: list[str]) -> dict[str, Size]:
        looks = [_TABLES.format(self.name) + condition for condition in conditions]
        return {
            table: Size(counter or 1, rows or 0)
            for table, counter, kind, rows in (
                self.execute(" UNION ALL ".join(looks)) if looks else ()
            )
            if kind not in ("VIEW", "SEQUENCE")
        }

    @cached_property
    def sequences(self) -> dict[str, int]:
        """The next value of each sequence, which MySQL has none of."""
        names = [name for name, _, kind, _ in self._select(_TABLES) if kind == "SEQUENCE"]
        query = "SELECT next_not_cached_value FROM "
        return {name: self.execute(query + self.quoted(name))[0][0] for name in names}

    @cached_property
    def versioned(self) -> dict[str, list[str]]:
        """The system-versioned tables, and of each the columns that make history.

        No columns, where the server lets nobody write history: where they are numbers of
        transactions, and before MariaDB 10.11.
        """
        names = [name for name, _, kind, _ in self._select(_TABLES) if kind == "SYSTEM VERSIONED"]
        if not names:
            return {}
        if not self.execute("SHOW SESSION VARIABLES LIKE 'system_versioning_insert_history'"):
            return {name: [] for name in names}
        found: dict[str, list[tuple[str, str]]] = {}
        for table, column, column_type in self._select(_PERIODS):
            found.setdefault(table, []).append((column, column_type))
        by_number = [table for table, columns in found.items() if "bigint" in columns[0][1]]
        return {
            name: []
            if name in by_number
            else [column for column, _ in found.get(name, _HIDDEN_PERIOD)]
            for name in names
        }

    @cached_property
    def without_transactions(self) -> set[str]:
        """The tables in which whatever is done is done at once."""
        return {table for (table,) in self._select(_AT_ONCE)}

    @cached_property
    def triggers(self) -> list[Trigger]:
        """All triggers, in the order that they fire in."""
        return [Trigger(*row) for row in self._select(_TRIGGERS)]

    def shape(self) -> str:
        """Return a text that is another one after the schema has been changed."""
        found = [
            sorted(
                map(
                    repr,
                    self._select(f"SELECT {columns} {_FROM}{view} WHERE {of}_schema = '{{0}}'"),
                )
            )
            for view, of, columns in _SHAPE
        ]
        return repr(found).replace(self.name, "")

    def all_of(self, table: str) -> str:
        """Return what to select from, to have all rows of ``table``: those of the past, too."""
        history = " FOR SYSTEM_TIME ALL" if self.versioned.get(table) else ""
        return self.quoted(table) + history

    def written(self, statements: Iterable[str]) -> set[str]:
        """Return the tables that ``statements`` may have written to.

        Those that they mention and those that follow by foreign keys; all of them, where a view,
        trigger, routine or event may have written.
        """
        found: set[str] = set()
        for sql in statements:
            words = set(re.findall(r"\w+", sql.lower()))
            mentioned = {name for name, parts in self._words.items() if parts <= words}
            if mentioned & self._indirect or not kind_of(sql).known or self.triggers:
                return set(self.columns)
            found |= mentioned
        return set(self.columns) if self._events else self._with_followers(found)

    def quoted(self, name: str) -> str:
        """Return what a table or such is called from other databases."""
        return f"{identifier(self.name)}.{identifier(name)}"

    def is_indirect(self, sql: str) -> bool:
        """Tell whether ``sql`` may call a routine of this database."""
        indirect = [self._words[name] for name in self._indirect]
        words = set(re.findall(r"\w+", sql.lower())) if indirect else set()
        return any(parts <= words for parts in indirect)

    @cached_property
    def _words(self) -> dict[str, set[str]]:
        names = (*self.columns, *self._indirect)
        return {name: set(re.findall(r"\w+", name.lower())) for name in names}

    @cached_property
    def _indirect(self) -> set[str]:
        return {name for (name,) in self._select(_INDIRECT)}

    @cached_property
    def _events(self) -> list[Any]:
        return self._select(_EVENTS)

    @cached_property
    def _followers(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for table, follower in self._select(_FOLLOWERS):
            found.setdefault(table, set()).add(follower)
        return found

    def _with_followers(self, tables: set[str]) -> set[str]:
        pending, found = list(tables), set(tables)
        while pending:
            new = self._followers.get(pending.pop(), set()) - found
            found |= new
            pending.extend(new)
        return found

    def _select(self, sql: str) -> list[Any]:
        return self.execute(sql.format(self.name))


def identifier(name: str) -> str:
    """Return ``name`` quoted."""
    return "`" + name.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
