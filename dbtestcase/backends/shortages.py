"""What a server, or a disk, has run out of: no fault of the test's that finds out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Backend


def shortage(error: Any, backend: Backend) -> str:
    """Return what to say of ``error`` if something of the ``backend`` has run out, else empty."""
    found = backend.diagnostics.shortage(getattr(error, "orig", error))
    return found and _SHORTAGE.format(place=backend.place, what=found.what, remedy=found.remedy)


def noting_shortage(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let errors of a backend's ``method`` say what has run out, if it is that, and the remedy."""

    @functools.wraps(method)
    def call(backend: Backend, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(backend, *args, **kwargs)
        except Exception as error:
            note = shortage(error, backend)
            if note:
                error.add_note(note)
            raise

    return call


_SHORTAGE = """\
{place} has no {what} left.
  To fix this, {remedy}"""
