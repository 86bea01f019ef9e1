"""Run the benchmarks: ``python -m benchmarks [ROUNDS] [--only GROUP...]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import sqlalchemy

from . import (
    at_scale,
    beside,
    measure,
    migrations,
    per_class,
    per_test,
    pglite,
    recording,
    reset,
    round_trips,
    scale,
    start,
    start_parts,
    template,
    truncation,
)

MODULES = (
    *(
        per_test,
        round_trips,
        beside,
        recording,
        per_class,
        reset,
        truncation,
        template,
        pglite,
        start,
        start_parts,
    ),
    *(migrations, scale, at_scale),
)


def groups() -> list[measure.Group]:
    """Return all groups, of the sizes that are in force now."""
    return [group for module in MODULES for group in module.groups()]


def main() -> None:
    """Run the groups that the command line names, or all."""
    options = _parser().parse_args()
    if options.quick:
        measure.SIZE.shrink()
    print(
        f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, "
        f"{platform.machine()}, {options.rounds} rounds at most"
    )
    chosen = [one for one in groups() if not options.only or one.name in options.only]
    taken = {group.name: measure.run(group, options.rounds) for group in chosen}
    if options.json:
        _save(options.json, chosen, taken)
    sys.exit(None in taken.values())


def _save(path: Path, chosen: list[measure.Group], taken: dict[str, Any]) -> None:
    """Write all that was measured, for ``python -m benchmarks.plots``."""
    found = {
        "python": platform.python_version(),
        "sqlalchemy": sqlalchemy.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "groups": [
            {"name": group.name, "title": group.title, "taken": taken[group.name]}
            for group in chosen
            if taken[group.name]
        ],
    }
    path.write_text(json.dumps(found, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure dbtestcase beside what people would otherwise use. Groups on servers "
        "run if DBTESTCASE_POSTGRESQL and DBTESTCASE_MYSQL hold URLs of them.",
    )
    names = [group.name for group in groups()]
    parser.add_argument("rounds", nargs="?", type=int, default=25, help="fewer for slow groups")
    parser.add_argument("--only", nargs="+", choices=names, metavar="GROUP", help=", ".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    parser.add_argument("--quick", action="store_true", help="do little, to see that it works")
    return parser


if __name__ == "__main__":
    main()
