"""How pytest goes about it: long tests first, so that no worker is left with one at the end."""

from __future__ import annotations

import gc

import pytest

#: The modules with tests that take many seconds each.
LONG = {"test_backends", "test_benchmarks", "test_faults", "test_long_history", "test_runners"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is long, in the order in which it comes."""
    items.sort(key=lambda item: item.path.stem not in LONG)


def pytest_collection_finish() -> None:
    """Let collections of garbage look at what tests make, and not each time at all modules."""
    gc.freeze()
