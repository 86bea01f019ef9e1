"""What a server has run out of: no fault of the test's that finds out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import shown

if TYPE_CHECKING:
    from .base import Backend


def shortage(error: Any, backend: Backend) -> str:
    """Return what to say of ``error`` if something of the ``backend`` has run out, else empty."""
    found = backend.diagnostics.shortage(getattr(error, "orig", error))
    if found is None:
        return ""
    place = f"{backend.title} at {shown(backend.url)}"
    return f"{place} has no {found.what} left.\n  To fix this, {found.remedy}"
