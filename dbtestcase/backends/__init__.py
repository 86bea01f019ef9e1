"""The databases that dbtestcase can work on."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import import_module

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..exceptions import OptionError
from .base import Backend, Database, Features, shown
from .engine_around import engine_around
from .leftover import Kept, Leftover
from .losses import cut_off, drop_if_reached, even_after_a_loss, is_loss, loses
from .shortages import shortage

__all__ = [
    "Backend",
    "Database",
    "Features",
    "Kept",
    "Leftover",
    "backend_for",
    "cut_off",
    "drop_if_reached",
    "engine_around",
    "even_after_a_loss",
    "is_loss",
    "loses",
    "shortage",
    "shown",
]

_BACKENDS = {
    "sqlite": "SQLiteBackend",
    "postgresql": "postgresql_backend",
    "pgserver": "PGServerBackend",
    "pglite": "PGliteBackend",
    "mysql": "MySQLBackend",
    "mariadb": "MySQLBackend",
}  # by module of this package, imported when needed
_MODULES = {"mariadb": "mysql"}  # those of another name


@cache
def backend_for(database: str) -> Backend:
    """Return the backend for the value of the ``database`` option.

    :raises OptionError: ``database`` is no URL, or of a kind that is not supported.
    """
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        near = get_close_matches(str(database).rstrip(":/"), _BACKENDS, n=1)
        raise OptionError(
            f"database = {shown(database)!r} is not a database URL.\n"
            f"  To fix this, write for example {(near or ['sqlite'])[0]}://, in the option or in "
            "DBTESTCASE_DATABASE"
        ) from None
    kind = url.get_backend_name()
    if kind not in _BACKENDS:
        near = get_close_matches(kind, _BACKENDS, n=1)
        meant = f"did you mean {near[0]}://?" if near else f"supported: {', '.join(_BACKENDS)}"
        raise OptionError(f"database = {shown(database)!r}: no backend is called {kind!r}; {meant}")
    module = import_module(f".{_MODULES.get(kind, kind)}", __package__)
    backend: Callable[[URL], Backend] = getattr(module, _BACKENDS[kind])
    return backend(url)
