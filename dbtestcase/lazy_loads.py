"""Attributes that ORM objects load in a coroutine, where SQLAlchemy cannot wait for them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from traceback import walk_stack, walk_tb
from typing import TYPE_CHECKING

from sqlalchemy.exc import MissingGreenlet

if TYPE_CHECKING:
    from types import FrameType


def missing_greenlet() -> MissingGreenlet | None:
    """Return what SQLAlchemy raises, if an attribute is just being loaded."""
    attribute = _attribute_in(frame for frame, _ in walk_stack(None))
    return MissingGreenlet(f"{attribute} cannot be loaded in a coroutine") if attribute else None


def explanation(error: BaseException) -> str:
    """Return why ``error`` was raised and what to do, if an attribute could not be loaded."""
    if not isinstance(getattr(error, "orig", error), MissingGreenlet):
        return ""
    attribute = _attribute_in(frame for frame, _ in walk_tb(error.__traceback__))
    if not attribute:
        return ""
    name = attribute.rpartition(".")[2]
    return _EXPLANATION.format(attribute=attribute, name=name)


def _attribute_in(frames: Iterable[FrameType]) -> str:
    """Return the attribute of a mapped class, such as "User.posts", that is read in ``frames``."""
    orm = sys.modules.get("sqlalchemy.orm")
    if orm is not None:
        read = orm.InstrumentedAttribute.__get__.__code__
        for frame in frames:
            if frame.f_code is read:
                return str(frame.f_locals[read.co_varnames[0]])
    return ""


_EXPLANATION = """\
{attribute} had to be loaded, in a coroutine that did not await it: it had not been loaded \
before, was deferred, or had expired, in a commit or rollback.
  To fix this, either: load it in the query, for example a relationship with \
options(selectinload({attribute})); or await session.refresh(…, ["{name}"]); or await \
(…).awaitable_attrs.{name}, with SQLAlchemy's AsyncAttrs; or, if it expires in a commit, give the \
session expire_on_commit=False."""
