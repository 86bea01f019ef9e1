"""What a FastAPI application depends on, as a test lets it be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def overridden(app: Any, dependency: Callable[..., Any], override: Any) -> Iterator[None]:
    """Let ``app`` use ``override``, or call it if it can be, where ``dependency`` is asked for."""
    before = dict(app.dependency_overrides)
    app.dependency_overrides[dependency] = override if callable(override) else lambda: override
    try:
        yield
    finally:
        app.dependency_overrides.pop(dependency, None)  # unless the test has
        if dependency in before:
            app.dependency_overrides[dependency] = before[dependency]
