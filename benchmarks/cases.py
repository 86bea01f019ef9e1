"""Running real test classes, and the times of their tests."""

from __future__ import annotations

import statistics
import unittest
from collections.abc import Callable
from inspect import iscoroutinefunction
from itertools import pairwise
from time import perf_counter
from typing import Any, NamedTuple

Marks = list[tuple[float, float]]


class Times(NamedTuple):
    """Medians of the tests of one class, in milliseconds; its set-up is not in them."""

    whole: float  # from the beginning of a test to that of the next one
    between: float  # from the end of a test to the beginning of the next one


def run(*cases: type[unittest.TestCase]) -> float:
    """Run all tests of ``cases`` and return the milliseconds it took."""
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases))
    result = unittest.TestResult()
    start = perf_counter()
    suite.run(result)
    took = (perf_counter() - start) * 1000
    if not result.wasSuccessful():
        raise RuntimeError([*result.errors, *result.failures][0][1])
    return took


def times(
    base: type[unittest.TestCase], test: Callable[[Any], Any], count: int, **attributes: Any
) -> Times:
    """Run ``test`` so many times, as methods of a new class derived from ``base``."""
    marks: Marks = []
    method = _marked_async(test, marks) if iscoroutinefunction(test) else _marked(test, marks)
    methods = {f"test_{number:04}": method for number in range(count)}
    run(type(base.__name__, (base,), {**attributes, **methods}))
    marks = marks[count // 10 :]  # connections, caches and prepared statements are warm then
    pairs = list(pairwise(marks))
    return Times(
        statistics.median(after[0] - one[0] for one, after in pairs) * 1000,
        statistics.median(after[0] - one[1] for one, after in pairs) * 1000,
    )


def _marked(test: Callable[[Any], None], marks: Marks) -> Callable[[Any], None]:
    def method(self: Any) -> None:
        start = perf_counter()
        test(self)
        marks.append((start, perf_counter()))

    return method


def _marked_async(test: Callable[[Any], Any], marks: Marks) -> Callable[[Any], Any]:
    async def method(self: Any) -> None:
        start = perf_counter()
        await test(self)
        marks.append((start, perf_counter()))

    return method
