"""ORM objects that assertions are about. The ORM is imported only where one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect

from .exceptions import UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import InstanceState


def is_instance(target: Any) -> bool:
    """Tell whether ``target`` is an object of a mapped class."""
    from sqlalchemy.orm import InstanceState

    return isinstance(inspect(target, raiseerr=False), InstanceState)


def state_of(instance: Any) -> InstanceState[Any]:
    """Return what SQLAlchemy knows of ``instance``.

    :raises UsageError: it is no object of a mapped class.
    """
    if not is_instance(instance):
        hint = "; write an object of it" if isinstance(instance, type) else ""
        raise UsageError(f"{instance!r} is no object of a mapped class{hint}")
    state: InstanceState[Any] = inspect(instance)
    return state


def primary_key(state: InstanceState[Any]) -> dict[str, Any] | None:
    """Return the primary key of an object, by attribute, if it has any, without loading it."""
    mapper = state.mapper
    names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    values = state.identity or tuple(map(state.dict.get, names))
    return None if None in values else dict(zip(names, values, strict=True))


def title(state: InstanceState[Any]) -> str:
    """Return what messages call an object."""
    key = primary_key(state)
    name = str(state.mapper.class_.__name__)
    return f"{name} {', '.join(map(repr, key.values()))}" if key else f"this {name}"
