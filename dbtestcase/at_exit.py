"""What is done as a process ends, whether multiprocessing has started it or not."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable


def call_at_exit(function: Callable[..., object], *arguments: object) -> None:
    """Call ``function(*arguments)`` as the process ends, last in first out.

    Before Python 3.13, ``atexit`` is never asked in a process that multiprocessing has forked.
    There it may be called twice in one that was spawned.
    """
    atexit.register(function, *arguments)
    if sys.version_info < (3, 13):
        multiprocessing = sys.modules.get("multiprocessing")
        if multiprocessing is not None and multiprocessing.parent_process() is not None:
            from multiprocessing.util import Finalize

            Finalize(None, function, arguments, exitpriority=0)
