"""From a fingerprint to a template, and from a template to databases for test classes."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from .class_database import ClassDatabase

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .backends import Backend, Database


class Provisioner:
    """Builds each template once in this process and lends databases made from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._templates: dict[Hashable, Database | Exception] = {}
        self._idle: dict[Hashable, list[ClassDatabase]] = {}
        self._inherited: list[object] = []

    def borrow(
        self, key: Hashable, backend: Backend, build: Callable[[Connection], None]
    ) -> ClassDatabase:
        """Return a clean database, for the caller alone until :meth:`give_back`.

        :param key: names what ``build`` makes; it runs once for each key.
        :raises Exception: what ``build`` raised, now or the first time.
        """
        with self._lock:
            self._leave_to_parent_what_it_made()
            template = self._templates.get(key)
            if template is None:
                template = self._templates[key] = _built(backend, build)
            if isinstance(template, Exception):
                raise template
            idle = self._idle.setdefault(key, [])
            return idle.pop() if idle else ClassDatabase(backend, template)

    def give_back(self, key: Hashable, database: ClassDatabase) -> None:
        """Keep ``database`` for the next class, or drop it if its isolation was broken."""
        with self._lock:
            if database.sandbox.intact and key in self._idle:
                self._idle[key].append(database)
            else:
                database.drop()

    def close(self) -> None:
        """Drop every template and every database that is not lent."""
        if self._pid != os.getpid():
            return
        for databases in self._idle.values():
            for database in databases:
                database.drop()
        for template in self._templates.values():
            if not isinstance(template, Exception):
                template.drop()
        self._idle.clear()
        self._templates.clear()

    def _leave_to_parent_what_it_made(self) -> None:
        if self._pid != os.getpid():
            if self._pid:
                self._inherited.append((self._templates, self._idle))
                self._templates, self._idle = {}, {}
            self._pid = os.getpid()
            atexit.register(self.close)


def _built(backend: Backend, build: Callable[[Connection], None]) -> Database | Exception:
    database = backend.create()
    engine = create_engine(
        backend.driver_url(is_async=False),
        creator=lambda: database.connection,
        poolclass=StaticPool,
    )
    try:
        with engine.begin() as connection:
            build(connection)
    except Exception as error:
        database.drop()
        return error
    return database


provisioner = Provisioner()
