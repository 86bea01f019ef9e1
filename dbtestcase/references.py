"""What class options refer to in the application: objects, their names, or functions that know."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from inspect import isroutine
from typing import Any, TypeVar

from sqlalchemy.engine import Engine

from .exceptions import OptionError

Accepted = TypeVar("Accepted")


def resolve(
    value: Any, option: str, accept: Callable[[Any], Accepted | None], fix: str
) -> list[Accepted]:
    """Return what ``value`` of a class option stands for, each thing once.

    :param value: None, a thing, ``"module:attribute"``, a function that returns one of these, or
        a list or tuple of them.
    :param accept: returns what to take for a thing, or None if that is of a wrong kind.
    :param fix: what to name instead.
    :raises OptionError: a thing is of a wrong kind, or a name cannot be imported.
    """
    if isinstance(value, (list, tuple)):
        found = [one for item in value for one in resolve(item, option, accept, fix)]
        return list(dict.fromkeys(found))
    if value is None:
        return []
    written = repr(value)
    if isinstance(value, str):
        value = _import(value, option)
    if isroutine(value) or isinstance(value, partial):
        value = value()
    if isinstance(value, (list, tuple)):
        return resolve(value, option, accept, fix)
    accepted = accept(value)
    if accepted is not None:
        return [accepted]
    is_a = "" if repr(value) == written else f": a {type(value).__name__}"
    raise OptionError(f"{option} contains {written}{is_a}, {fix}")


def resolve_engines(value: Any) -> list[Engine]:
    """Return the engines that the ``engines`` option stands for, async ones as ``sync_engine``.

    :raises OptionError: it stands for anything else, or names what cannot be imported.
    """
    return resolve(value, "engines", _engine, _NO_ENGINE)


def _engine(value: Any) -> Engine | None:
    engine = getattr(value, "sync_engine", value)
    return engine if isinstance(engine, Engine) else None


def _import(path: str, option: str) -> Any:
    module_name, _, attribute = path.partition(":")
    if not attribute or attribute.startswith("//"):
        named = f"{module_name}://…" if attribute else path  # there may be a password in a URL
        raise OptionError(
            f'{option} contains {named!r}; write "module:attribute", as in "app.db:engine"'
        )
    try:
        found: Any = import_module(module_name)
    except ImportError as error:
        raise OptionError(
            f"{option} contains {path!r}, but importing it failed: {error}"
        ) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, dir(found), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"{option} contains {path!r}, but {module_name} has no {name!r}{hint}"
            )
        found = getattr(found, name)
    return found


_NO_ENGINE = """\
which is not an engine.
  To fix this, name an Engine or AsyncEngine, as an object, as "module:attribute", or as a \
function that returns it; a sessionmaker or scoped_session belongs into session_factories"""
