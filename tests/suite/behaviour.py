"""What holds on every backend, in both colours, under every isolation.

Tests are written once, over SQLAlchemy's synchronous API. In the async class they run inside
a greenlet, as ``run_sync`` does it, so that the very same calls go through the async driver.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Awaitable
from typing import Any

import sqlalchemy
from sqlalchemy import func, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only, greenlet_spawn

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for

from ..models import Base, Post, Tag, User, app_async_engine, app_engine

BACKEND = backend_for(os.environ.get("DBTESTCASE_DATABASE") or "sqlite://")
ISOLATIONS = BACKEND.features.isolations


class Sync(DatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]

    @property
    def own_session(self) -> Session:
        return self.session

    @property
    def own_engine(self) -> Engine:
        return self.engine

    @property
    def own_connection(self) -> Connection:
        return self.connection

    app_engine = app_engine


class Async(AsyncDatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine, app_async_engine]

    @property
    def own_session(self) -> Session:
        return self.session.sync_session

    @property
    def own_engine(self) -> Engine:
        return self.engine.sync_engine

    @property
    def own_connection(self) -> Connection:
        return self.connection.sync_connection

    app_engine = app_async_engine.sync_engine

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            test = getattr(cls, name)
            if name.startswith("test_") and not inspect.iscoroutinefunction(test):
                setattr(cls, name, _in_greenlet(test))


def _in_greenlet(test: Any) -> Any:
    @functools.wraps(test)
    async def run(self: Any) -> None:
        await greenlet_spawn(test, self)

    return run


class Behaviour:
    """Help for the tests: what is in the database, seen by a connection of its own."""

    own_session: Session
    own_engine: Engine
    app_engine: Engine
    own_connection: Any

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        cls.alice = User(name="alice", posts=[Post(title="one"), Post(title="two")])
        cls.tag = Tag(word="red", color="#f00")
        session.add_all([cls.alice, cls.tag])

    def names(self) -> list[str]:
        with self.own_engine.connect() as connection:
            return sorted(connection.scalars(select(User.name)))

    def posts(self) -> int:
        with self.own_engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(Post)) or 0

    def tables(self) -> list[str]:
        with self.own_engine.connect() as connection:
            return sqlalchemy.inspect(connection).get_table_names()

    def register(self, name: str) -> None:
        """What the application does: open a session of its own and commit."""
        with Session(self.app_engine) as session:
            session.add(User(name=name))
            session.commit()

    def check(self, assertion: Awaitable[None] | None) -> None:
        """Make an assertion of the test case, to await in the async one."""
        if assertion is not None:
            await_only(assertion)
