"""From a fingerprint to a template, and from a template to databases for test classes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from .at_exit import call_at_exit
from .backends import is_loss
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
        self._backend_of: dict[Hashable, Backend] = {}
        self._losses: dict[Backend, int] = {}
        self._inherited: list[object] = []

    def borrow(
        self,
        key: Hashable,
        backend: Backend,
        fingerprint: str,
        build: Callable[[Connection], None],
        *,
        rebuild: bool = False,
        lasting: bool = False,
    ) -> ClassDatabase:
        """Return a clean database, for the caller alone until :meth:`give_back`.

        :param key: names what ``build`` makes; it runs once for each key.
        :param fingerprint: names it in other processes too.
        :param rebuild: do not use what another process has built.
        :param lasting: let other processes use it, even where that is costly.
        :raises Exception: what ``build`` raised, now or the first time.
        """
        with self._lock:
            template = self._template(key, backend, fingerprint, build, rebuild, lasting)
            idle = self._idle.setdefault(key, [])
            return idle.pop() if idle else ClassDatabase(backend, template)

    def template(
        self,
        key: Hashable,
        backend: Backend,
        fingerprint: str,
        build: Callable[[Connection], None],
        *,
        rebuild: bool = False,
        lasting: bool = False,
    ) -> Database:
        """Return what :meth:`borrow` makes databases from, with the same parameters and errors."""
        with self._lock:
            return self._template(key, backend, fingerprint, build, rebuild, lasting)

    def give_back(self, key: Hashable, database: ClassDatabase) -> None:
        """Keep ``database`` for the next class, or drop it if it was lost or not kept isolated."""
        database.drop_copies()
        with self._lock:
            is_lost = database.losses != database.backend.losses
            if database.sandbox.intact and not is_lost and key in self._idle:
                self._idle[key].append(database)
            else:
                database.drop()

    def _template(
        self,
        key: Hashable,
        backend: Backend,
        fingerprint: str,
        build: Callable[[Connection], None],
        rebuild: bool,
        lasting: bool,
    ) -> Database:
        self._leave_to_parent_what_it_made()
        backend.notice_loss()
        if self._losses.get(backend, 0) != backend.losses:
            self._losses[backend] = backend.losses
            self._forget(backend)
        template = self._templates.get(key)
        if template is None:
            if backend.features.one_database:
                self._forget(backend)
            is_new = backend not in self._backend_of.values()
            self._backend_of[key] = backend
            template = _built(backend, fingerprint, build, rebuild, lasting)
            if not (isinstance(template, Exception) and is_loss(template)):  # it may be had later
                self._templates[key] = template
            if is_new:
                call_at_exit(self.close)  # once more, before its server is stopped
        if isinstance(template, Exception):
            raise template
        return template

    def _forget(self, backend: Backend) -> None:
        for key in [key for key, other in self._backend_of.items() if other is backend]:
            self._templates.pop(key, None)
            for database in self._idle.pop(key, []):
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
        for backend in set(self._backend_of.values()):
            backend.close()
        self._backend_of.clear()

    def _leave_to_parent_what_it_made(self) -> None:
        if self._pid != os.getpid():
            if self._pid:
                self._inherited.append((self._templates, self._idle))
                self._templates, self._idle = {}, {}
                self._backend_of = {}
            self._pid = os.getpid()
            call_at_exit(self.close)


def _built(
    backend: Backend,
    fingerprint: str,
    build: Callable[[Connection], None],
    rebuild: bool,
    lasting: bool,
) -> Database | Exception:
    make = backend.lasting_template if lasting else backend.template
    has_begun = False

    def build_once(connection: Connection) -> None:
        nonlocal has_begun
        has_begun = True
        build(connection)

    try:
        try:
            return make(fingerprint, build_once, rebuild=rebuild)
        except Exception as error:
            if has_begun or not is_loss(error):
                raise
            return make(fingerprint, build, rebuild=rebuild)
    except Exception as error:
        return error


provisioner = Provisioner()
