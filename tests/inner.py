"""Running test cases inside tests, and looking at their results."""

from __future__ import annotations

import random
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def run(*cases: type[unittest.TestCase], shuffled: bool = False) -> unittest.TestResult:
    """Run all tests of ``cases`` as a runner would and return the result."""
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases))
    if shuffled:
        tests = list(_flattened(suite))
        random.shuffle(tests)
        suite = unittest.TestSuite(tests)
    result = unittest.TestResult()
    suite.run(result)
    return result


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory that is gone after the block."""
    with TemporaryDirectory() as name:
        yield Path(name)


def passed(case: unittest.TestCase, result: unittest.TestResult, count: int) -> None:
    """Fail ``case`` unless ``count`` tests ran and all were successful."""
    case.assertEqual([text for _, text in result.failures + result.errors], [])
    case.assertEqual(result.testsRun, count)


def only_error(case: unittest.TestCase, result: unittest.TestResult) -> str:
    """Return the text of the one failure or error, or fail ``case`` if there are more or none."""
    texts = [text for _, text in result.failures + result.errors]
    case.assertEqual(len(texts), 1, texts)
    return texts[0]


def _flattened(suite: Any) -> Any:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flattened(test)
        else:
            yield test
