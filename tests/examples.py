"""All examples as one suite: ``python -m unittest tests.examples``."""

from __future__ import annotations

import unittest
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
DIRECTORIES = sorted(path for path in EXAMPLES.iterdir() if list(path.glob("test_*.py")))


def load_tests(
    loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None
) -> unittest.TestSuite:
    """Load the tests of each example, as if it were a project of its own."""
    suites = [loader.discover(str(one), top_level_dir=str(one)) for one in DIRECTORIES]
    return unittest.TestSuite(suites)
