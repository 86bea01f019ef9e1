"""How messages put things: numbers of rows, long values, names that are near others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

_SHOWN_CHARACTERS = 60
_SHOWN_NAMES = 20


def counted(count: int, noun: str = "row") -> str:
    """Return such as "1 query", "2 queries" or "2 days"."""
    plural = f"{noun[:-1]}ies" if noun.endswith(("ty", "ry")) else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def cut(value: Any) -> str:
    """Return ``value`` as text, and of a long one the beginning."""
    return shortened(repr(value), _SHOWN_CHARACTERS)


def shortened(text: str, length: int) -> str:
    """Return ``text``, and of a long one the beginning."""
    return text if len(text) <= length else f"{text[:length]}…"


def limited(texts: Sequence[str], most: int = _SHOWN_NAMES) -> list[str]:
    """Return ``texts``, and of many the first ones and how many more there are."""
    left = len(texts) - most
    return [*texts[:most], f"… and {left:,} more"] if left > 0 else list(texts)


def joined(names: Iterable[str]) -> str:
    """Return such as "one, two and three"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def suggestion(name: str, known: Iterable[str], those: str, *, cutoff: float = 0.6) -> str:
    """Return the hint for a ``name`` that is not among the ``known`` ones.

    :param those: introduces them, where none is near, as in "it has".
    :param cutoff: how near a name must be that was meant, from 0 to 1.
    """
    candidates = list(dict.fromkeys(known))
    near = get_close_matches(name, candidates, n=1, cutoff=cutoff)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"{those} {', '.join(limited(candidates)) or 'none'}"
