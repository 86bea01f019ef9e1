"""Recorded statements as a person reads them: numbered, repeated ones together, cut where long."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from reprlib import Repr

from .aliases import DEFAULT
from .recording import Statement
from .wording import counted

SHOWN_STATEMENTS = 50
_SHOWN_REPETITIONS = 5
_SHOWN_CHARACTERS = 800  # of SQL

_REPR = Repr()
_REPR.fillvalue = "…"
_REPR.maxlevel = 3
_REPR.maxtuple = _REPR.maxlist = _REPR.maxdict = 12
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80

Numbered = tuple[int, Statement]


def listed(statements: Sequence[Statement]) -> str:
    """Return ``statements`` as lines, each with a line break before it.

    Those with the same SQL are shown together, where the first of them is.
    """
    return listed_groups(list(grouped(statements)))


def listed_groups(groups: Sequence[Sequence[Numbered]]) -> str:
    """Return groups of statements as lines, each with a line break before it."""
    lines = [line for group in groups[:SHOWN_STATEMENTS] for line in lines_of(group)]
    left = sum(map(len, groups[SHOWN_STATEMENTS:]))
    if left:
        lines.append(f"… and {counted(left, 'more statement')}, which are not shown")
    return indented(lines)


def indented(lines: Iterable[str]) -> str:
    """Return ``lines`` with a line break and an indentation before each."""
    return "".join(f"\n  {line}" for line in lines)


def grouped(statements: Iterable[Statement]) -> Iterable[list[Numbered]]:
    """Return ``statements`` with their numbers, from 1, by database and SQL."""
    groups: dict[tuple[str, str], list[Numbered]] = {}
    for number, one in enumerate(statements, start=1):
        groups.setdefault((one.database, one.sql), []).append((number, one))
    return groups.values()


def lines_of(group: Sequence[Numbered]) -> list[str]:
    """Return the lines that show statements with the same SQL."""
    number, first = group[0]
    lines = [f"{number:,}. {_shown_sql(first.sql)}"]
    if len(group) == 1:
        return [*lines, f"     {_details(first)}"]
    shown = group[:_SHOWN_REPETITIONS]
    lines.append(f"     {len(group):,} times:")
    lines += [f"       {number:,}. {_details(one)}" for number, one in shown]
    if len(group) > len(shown):
        lines.append(f"       … and {len(group) - len(shown):,} times more")
    return lines


def _shown_sql(sql: str) -> str:
    line = " ".join(sql.split())
    if len(line) <= _SHOWN_CHARACTERS:
        return line
    return f"{line[:_SHOWN_CHARACTERS]}… ({len(line):,} characters)"


def _details(statement: Statement) -> str:
    details = [
        _shown_parameters(statement),
        "not completed" if statement.duration is None else f"{statement.duration * 1000:.1f} ms",
        counted(statement.rowcount, "row") if statement.rowcount >= 0 else "",
        "" if statement.database == DEFAULT else f"database {statement.database!r}",
        _shown_caller(statement.caller),
    ]
    return ", ".join(filter(None, details))


def _shown_parameters(statement: Statement) -> str:
    if not statement.parameters:
        return ""
    if statement.times == 1:
        return _REPR.repr(statement.parameters)
    return f"{statement.times:,} sets of parameters from {_REPR.repr(statement.parameters[0])} on"


def _shown_caller(caller: str) -> str:
    here = os.getcwd() + os.sep
    return caller.removeprefix(here)
