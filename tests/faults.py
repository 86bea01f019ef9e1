"""The table of faults in ``docs/faults.rst``, which ``python -m tests.faults`` writes.

Tests say what they have tried, and what happened. Run as tests, they compare that with the table.
With names of test modules, what other modules try stays in the table as it was.
"""

from __future__ import annotations

import functools
import sys
import unittest
from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parent.parent / "docs" / "faults.rst"
TITLES = ("SQLite", "PGlite", "pgserver", "PostgreSQL", "MariaDB")
MODULES = (
    *("test_faults", "test_caches", "test_pglite_templates", "test_clusters", "test_held_locks"),
    *("test_losses", "test_restarts", "test_killed_servers", "test_full_disks"),
    *(
        "test_postgresql",
        "test_postgresql_errors",
        "test_few_connections",
        "test_mysql",
        "test_runners",
    ),
)
_BEGIN, _END = ".. written by python -m tests.faults\n\n", "\n.. until here\n"


class Cell(NamedTuple):
    """One fault on one database."""

    what: str
    where: str
    title: str


#: What tests try, in the order of the table, with the tests that do.
declared: dict[Cell, str] = {}

_happened: dict[Cell, str] = {}  # so far
_writing: list[bool] = []  # not empty if the table is to be written


def declare(what: str, where: str, titles: Iterable[str], test: Any) -> list[Cell]:
    """Note that ``test`` tries ``what``, and return what it has to say :func:`happened`."""
    cells = [Cell(what, where, title) for title in titles]
    declared.update(dict.fromkeys(cells, test))
    return cells


def happened(test: unittest.TestCase, cell: Cell, outcome: str) -> None:
    """Say what happened, and fail ``test`` if the table has it otherwise."""
    _happened[cell] = outcome
    if not _writing:
        advice = f"{PAGE.name}; to write it anew: python -m tests.faults"
        test.assertEqual(read().get(cell), outcome, f"{cell}: {advice}")


def tried(what: str, where: str, outcome: str, *titles: str) -> Callable[[Any], Any]:
    """Return a decorator for a test that tries ``what``, with that outcome if it passes.

    :param titles: of databases; if none, that of the test class.
    """

    def decorate(test: Any) -> Any:
        test.faults = [*getattr(test, "faults", []), (what, where, outcome, titles)]
        return test

    return decorate


def reporting(case: Any) -> Any:
    """Declare what the tests of a class have :func:`tried`, and let them say that it happened."""
    for name in dir(case):
        test = getattr(case, name)
        test = getattr(test, "unreported", test)  # which it is if a base was reporting
        if hasattr(test, "faults"):
            cells = {
                cell: outcome
                for what, where, outcome, titles in test.faults
                for cell in declare(what, where, titles or [case.title], (case, name))
            }
            setattr(case, name, _reporting(test, cells))
    return case


def _reporting(test: Any, cells: dict[Cell, str]) -> Any:
    @functools.wraps(test)
    def run(self: unittest.TestCase) -> None:
        test(self)
        for cell, outcome in cells.items():
            happened(self, cell, outcome)

    run.unreported = test  # type: ignore[attr-defined]
    return run


def written(outcomes: dict[Cell, str]) -> str:
    """Return the table in reStructuredText."""
    rows = list(dict.fromkeys((cell.what, cell.where) for cell in outcomes))
    table = [("what happens", "in", *TITLES)]
    table += [(*row, *(outcomes.get(Cell(*row, title), "") for title in TITLES)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    border = " ".join("=" * width for width in widths)
    lines = [
        " ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([border, lines[0], border, *lines[1:], border]) + "\n"


@functools.cache
def read() -> dict[Cell, str]:
    """Return what the table in the page says."""
    table = PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]
    if not table:
        return {}
    border, _, _, *lines, _ = table.splitlines()
    starts = [0, *(index + 1 for index, one in enumerate(border) if one == " ")]
    found = {}
    for line in lines:
        padded = line.ljust(len(border))
        what, where, *cells = (
            padded[start:end].strip()
            for start, end in zip(starts, [*starts[1:], None], strict=True)
        )
        for title, outcome in zip(TITLES, cells, strict=True):
            if outcome:
                found[Cell(what, where, title)] = outcome
    return found


def main(modules: Collection[str]) -> int:
    """Run all that is declared in ``modules``, or if none is named in all, and write the page."""
    _writing.append(True)
    for module in MODULES:
        import_module(f"tests.{module}")
    suite = unittest.TestSuite(
        case(name)
        for case, name in dict.fromkeys(declared.values())
        if not modules or case.__module__ in modules
    )
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    outcomes = {cell: _happened.get(cell, read().get(cell, "")) for cell in declared}
    missing = [cell for cell, outcome in outcomes.items() if not outcome]
    if missing or not result.wasSuccessful() or result.skipped:
        print(f"Nothing was written: {len(missing)} did not happen, as {missing[:1]}")
        return 1
    page = PAGE.read_text()
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(before + _BEGIN + written(outcomes) + _END + after)
    return 0


if __name__ == "__main__":
    this = import_module("tests.faults")  # as tests know it
    sys.exit(this.main(sys.argv[1:]))
