"""SQLAlchemy around a connection that a driver has opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection


def engine_around(url: URL, connection: DBAPIConnection) -> Engine:
    """Return an engine that has only a driver's ``connection``."""
    return create_engine(url, creator=lambda: connection, poolclass=StaticPool)


def build_on(url: URL, connection: DBAPIConnection, build: Callable[[Connection], None]) -> None:
    """Call ``build`` with a connection of SQLAlchemy's around a driver's ``connection``."""
    with engine_around(url, connection).begin() as building:
        build(building)
