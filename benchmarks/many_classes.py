"""Many classes in one process: ``python -m benchmarks.many_classes COUNT DATABASE``.

Then one with ten tests for each of them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from .cases import run
from .models import Author, Base, work, work_async


class Data:
    """A row for all tests of the class."""

    metadata = Base.metadata

    @classmethod
    def setUpTestData(cls, session: Any) -> None:
        cls.author = Author(name="b")
        session.add(cls.author)


class Sync(Data, DatabaseTestCase):
    def test_one(self) -> None:
        work(self.session)

    test_two = test_one


class Async(Data, AsyncDatabaseTestCase):
    async def test_one(self) -> None:
        await work_async(self.session)

    test_two = test_one


def memory() -> dict[str, float]:
    """Return the resident megabytes of this process, and of those it started."""
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        text = status.read_text() if status.exists() else ""
        if resident := re.search(r"VmRSS:\s+(\d+)", text):
            pid = int(status.parent.name)
            parents[pid] = int(re.findall(r"PPid:\s+(\d+)", text)[0])
            sizes[pid] = int(resident[1]) / 1024
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {
        "Python": sizes[os.getpid()],
        "server": sum(sizes[pid] for pid in ours - {os.getpid()}),
    }


def classes(numbers: range, database: str) -> float:
    """Run classes, every third of which is asynchronous, and return the milliseconds of one."""
    options = {"database": database}
    cases = [
        type(f"Case{number}", ((Sync, Sync, Async)[number % 3],), options) for number in numbers
    ]
    return run(*cases) / len(numbers)


def tests(count: int, database: str) -> tuple[dict[str, float], dict[str, float]]:
    """Run a class of so many tests, and return the memory in the middle of it and at its end."""
    seen: list[dict[str, float]] = []

    def look(self: Any) -> None:
        seen.append(memory())

    many: dict[str, Any] = {f"test_{number:06}": Sync.test_one for number in range(count)}
    many |= {f"test_{count // 2:06}": look, f"test_{count:06}": look, "database": database}
    run(type("Many", (Sync,), many))
    middle, end = seen
    return middle, end


def main(count: int, database: str) -> None:
    early = count // 2  # until then caches fill
    found = {"ms per class, at first": classes(range(early), database)}
    before = memory()
    found["ms per class, then"] = classes(range(early, count), database)
    after = memory()
    for who in before:
        found[f"{who} after {early}, MB"] = before[who]
        found[f"{who} after {count}, MB"] = after[who]
        grown = (after[who] - before[who]) * 1024 / (count - early)
        found[f"{who} grew per class, kB"] = grown
    middle, end = tests(count * 10, database)
    for who in end:
        found[f"{who} grew per test, kB"] = (end[who] - middle[who]) * 1024 / (count * 5)
    print("numbers:", json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
