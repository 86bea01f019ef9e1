"""What is said to whoever runs the tests, beside what tests say."""

from __future__ import annotations

import sys
from functools import cache


def say(what: str) -> None:
    """Say on standard error what was not as expected, and what was done about it."""
    print(f"dbtestcase: {what}", file=sys.stderr)


#: The same, but nothing that was said before.
say_once = cache(say)
