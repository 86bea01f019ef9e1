"""Groups of measurements that are taken in turns, and the promises they are held against."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Returns one number, or several by what they are.
Measure = Callable[[], float | Mapping[str, float]]
Taken = Mapping[str, Sequence[float]]


@dataclass
class Size:
    """How much is done for one measurement."""

    tests: int = 100
    slow_tests: int = 15
    classes: int = 100
    sampled_classes: int = 10  # of these, where each takes a second
    tables: int = 100
    many_tables: int = 1000
    rows: int = 100_000
    many_classes: int = 600
    many_tests: int = 2000
    revisions: int = 200
    scale_tests: Sequence[int] = (100, 1_000, 10_000)
    scale_classes: Sequence[int] = (1, 10, 100, 1_000)
    scale_tables: Sequence[int] = (1, 10, 100, 1_000)
    scale_rows: Sequence[int] = (1, 1_000, 100_000, 1_000_000)
    scale_workers: Sequence[int] = (1, 2, 4, 8)

    def shrink(self) -> None:
        """Do as little as shows that everything works."""
        self.tests, self.slow_tests = 5, 3
        self.classes = self.sampled_classes = self.tables = 3
        self.many_tables, self.rows, self.many_classes, self.many_tests = 10, 10, 6, 4
        self.revisions = 10
        self.scale_tests, self.scale_classes = (2, 3), (1, 3)
        self.scale_tables = self.scale_rows = self.scale_workers = (1, 2)


SIZE = Size()


class Target(NamedTuple):
    """A promise; ``judge`` returns what became of it in numbers, and whether it was kept.

    It goes by the median of the rounds, each of which compares what was taken one after the other:
    a machine's speed may be another one in the next.
    """

    promise: str
    judge: Callable[[Taken], tuple[str, bool]]


class Group(NamedTuple):
    """What is measured side by side.

    :param measures: by name; ours is the last, which the others are compared to.
    :param rounds: how many there are at most.
    :param missing: why it cannot run, if it cannot.
    """

    name: str
    title: str
    measures: Mapping[str, Measure]
    targets: Sequence[Target] = ()
    rounds: int = 25
    missing: str = ""


def at_least(times: float, other: str, ours: str) -> Target:
    """Promise that ``other`` takes at least so many times what ``ours`` takes."""

    def judge(taken: Taken) -> tuple[str, bool]:
        ratio = _ratio(taken, other, ours)
        return f"{ratio:.2f} times", ratio >= times

    return Target(f"{other} takes at least {times:g} times {ours}", judge)


def at_most(times: float, ours: str, other: str) -> Target:
    """Promise that ``ours`` takes at most so many times what ``other`` takes."""

    def judge(taken: Taken) -> tuple[str, bool]:
        ratio = _ratio(taken, ours, other)
        return f"{ratio:.2f} times", ratio <= times

    return Target(f"{ours} takes at most {times:g} times {other}", judge)


def adds_less(times: float, ours: str, other: str, floor: str) -> Target:
    """Promise that ``other`` adds to ``floor`` at least so many times what ``ours`` does."""

    def judge(taken: Taken) -> tuple[str, bool]:
        added, others = _added(taken, ours, floor), _added(taken, other, floor)
        ratio = f", {others / added:.2f} times" if added > 0 else ""
        return f"{others:.2f} and {added:.2f}{ratio}", others >= times * added

    promise = f"{other} adds at least {times:g} times" if times > 1 else f"{other} adds at least"
    return Target(f"{promise} what {ours} adds to {floor}", judge)


def within(percent: float, one: str, other: str) -> Target:
    """Promise that two take the same, but for so many percent."""

    def judge(taken: Taken) -> tuple[str, bool]:
        ratio = _ratio(taken, one, other)
        return f"{ratio:.2f} times", max(ratio, 1 / ratio) <= 1 + percent / 100

    return Target(f"{one} and {other} within {percent:g} %", judge)


def run(group: Group, rounds: int) -> Taken | None:
    """Measure in turns, print what was found, and return it; None if it failed."""
    print(f"\n{group.title} [{group.name}]", flush=True)
    if group.missing:
        print(f"  left out: {group.missing}")
        return {}
    try:
        taken = _measured(group, min(rounds, group.rounds))
    except Exception:
        print(f"  failed:\n{traceback.format_exc()}", flush=True)
        return None
    _report(group, taken)
    return taken


def _report(group: Group, taken: Taken) -> None:
    for name, values in taken.items():
        last = _last_like(name, taken)
        ratio = (
            f"  {_ratio(taken, name, last):6.2f} times the last"
            if last and any(taken[last])
            else ""
        )
        print(
            f"  {name:44} median {statistics.median(values):8.2f}"
            f"  ({min(values):.2f} to {max(values):.2f}){ratio}"
        )
    for target in group.targets:
        found, is_met = target.judge(taken)
        print(f"  target: {target.promise}; {found}: {'met' if is_met else 'NOT MET'}")


def _measured(group: Group, rounds: int) -> dict[str, list[float]]:
    """Measure in turns, after a round that does not count."""
    taken: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for name, measure in group.measures.items():
            took = measure()
            values = took if isinstance(took, Mapping) else {"": took}
            for what, value in values.items():
                if number:
                    taken.setdefault(f"{name}: {what}" if what else name, []).append(value)
    return taken


def _last_like(name: str, names: Iterable[str]) -> str:
    """Return the last name that is of the same kind as ``name``, or the last of no kind."""
    *_, last = names
    kind = name.partition(": ")[2]
    alike = [other for other in names if other.partition(": ")[2] == kind]
    if kind and len(alike) == 1:
        return "" if ": " in last else last
    return alike[-1]


def _ratio(taken: Taken, one: str, other: str) -> float:
    """Return how many times ``other`` is in ``one``, by the median of the rounds."""
    pairs = zip(taken[one], taken[other], strict=True)
    return statistics.median(a / b for a, b in pairs if b)


def _added(taken: Taken, name: str, floor: str) -> float:
    """Return what ``name`` takes more than ``floor``, by the median of the rounds."""
    pairs = zip(taken[name], taken[floor], strict=True)
    return statistics.median(took - least for took, least in pairs)
