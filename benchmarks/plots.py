"""Draw what was measured: ``python -m benchmarks.plots NUMBERS.json DIRECTORY``."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dbtestcase", "font.size": 9})
from matplotlib import pyplot as plt  # noqa: E402

Taken = Mapping[str, Sequence[float]]

_PER_TEST = {
    "sync-sqlite": "SQLite",
    "async-sqlite": "SQLite, async",
    "sync-postgresql": "PostgreSQL",
    "async-postgresql": "PostgreSQL, async",
    "sync-pglite": "PGlite",
    "sync-mysql": "MariaDB",
}
_OURS, _RECIPE, _FLOOR = "#1f6f8b", "#d98c3f", "#b8b8b8"


def per_test(groups: Mapping[str, Taken], note: str) -> Any:
    """Draw a test of each kind: without isolation, with the recipe, with dbtestcase."""
    names = [name for name in _PER_TEST if groups.get(name)]
    figure, axes = plt.subplots(figsize=(7.2, 0.75 * len(names) + 1), layout="constrained")
    for offset, (title, color) in enumerate(
        [("no isolation", _FLOOR), ("hand-written recipe", _RECIPE), ("dbtestcase", _OURS)]
    ):
        values = [_median(groups[name], title) for name in names]
        places = [number + 0.27 * (offset - 1) for number in range(len(names))]
        bars = axes.barh(places, values, height=0.25, color=color, label=title)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    axes.set_yticks(range(len(names)), [_PER_TEST[name] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel(f"milliseconds for a test (medians)\n{note}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def scale(groups: Mapping[str, Taken], note: str) -> Any:
    """Draw how the cost of a test or class grows with what there are more of."""
    kinds = ("tests", "classes", "tables", "rows", "workers")
    figure, all_axes = plt.subplots(1, 5, figsize=(10, 2.4), layout="constrained")
    for axes, kind in zip(all_axes, kinds, strict=True):
        for database, color in [("sqlite", _RECIPE), ("postgresql", _OURS)]:
            taken = groups.get(f"scale-{kind}-{database}", {})
            points = sorted((_size(name), statistics.median(taken[name])) for name in taken)
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=color, label=database)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(kind)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylabel("ms per test")
    all_axes[1].set_ylabel("ms per class")
    all_axes[4].set_ylabel("s for all tests")
    all_axes[0].legend(frameon=False, fontsize=8)
    figure.supxlabel(note, fontsize=8)
    return figure


def _median(taken: Taken, title: str) -> float:
    [values] = [values for name, values in taken.items() if name.startswith(title)]
    return statistics.median(values)


def _size(name: str) -> int:
    return int(name.rpartition("= ")[2].replace(",", ""))


def main(numbers: Path, directory: Path) -> None:
    found = json.loads(numbers.read_text())
    groups = {group["name"]: group["taken"] for group in found["groups"]}
    note = f"Python {found['python']}, SQLAlchemy {found['sqlalchemy']}, {found['machine']}"
    for name, draw in [("per-test", per_test), ("scale", scale)]:
        path = directory / f"{name}.svg"
        draw(groups, note).savefig(path, metadata={"Date": None})
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
