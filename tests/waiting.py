"""Waiting for what comes when a machine that does much else gets round to it."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds


def until(condition: Callable[[], bool]) -> bool:
    """Wait for ``condition``; return False if it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
