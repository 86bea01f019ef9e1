"""How often a test asks the server and waits for its answer, whatever else the machine does."""

from __future__ import annotations

import socket
import threading
import unittest
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import cache, partial
from typing import Any

from sqlalchemy import make_url

from .cases import run
from .databases import MYSQL, POSTGRESQL, no_module, no_server, unreachable
from .measure import Group
from .models import work, work_async
from .per_test import AsyncFloor, AsyncOurs, AsyncRecipe, SyncFloor, SyncOurs, SyncRecipe

_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
_FEW, _MANY = 20, 40  # tests; after the first few, statements are prepared


class CountingProxy:
    """A way to a server, on which somebody counts how often a client speaks after an answer."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.count = 0
        self._server = server
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        _in_background(self._accept)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            _in_background(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with closing(client), closing(socket.create_connection(self._server)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answered = threading.Event()
            answered.set()
            back = _in_background(self._pump, server, client, answered.set)
            self._pump(client, server, partial(self._note_question, answered))
            back.join()

    def _note_question(self, answered: threading.Event) -> None:
        if answered.is_set():
            answered.clear()
            with self._lock:
                self.count += 1

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, note: Callable[[], None]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                note()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def _in_background(function: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


@cache
def _proxy(database: str) -> CountingProxy:
    url = make_url(database)
    return CountingProxy((url.host or "127.0.0.1", url.port or _PORTS[url.get_backend_name()]))


def round_trips(base: type[unittest.TestCase], database: str) -> Mapping[str, float]:
    """Return those of a test that adds three rows, commits, and reads two; and those of a class."""
    proxy = _proxy(database)
    through = make_url(database).set(host="127.0.0.1", port=proxy.port)
    url = through.render_as_string(hide_password=False)
    _counted(proxy, base, url, 1)  # which builds what lasts
    alone, few, many = (_counted(proxy, base, url, count) for count in (1, _FEW, _MANY))
    a_test = (many - few) / (_MANY - _FEW)
    return {"a test": a_test, "a class": alone - a_test}


def _counted(proxy: CountingProxy, base: type[unittest.TestCase], url: str, tests: int) -> int:
    is_async = hasattr(base, "work") or issubclass(base, unittest.IsolatedAsyncioTestCase)
    options = {"engines": [_engine(url, is_async)]} if hasattr(base, "metadata") else {}
    method = _looped if hasattr(base, "work") else _async if is_async else _sync
    methods = {f"test_{number}": method for number in range(tests)}
    before = proxy.count
    run(type(base.__name__, (base,), {"database": url, **options, **methods}))
    return proxy.count - before


@cache
def _engine(url: str, is_async: bool) -> Any:
    """Return the engine of the application, which all classes share."""
    return unreachable(url, is_async=is_async)


def _sync(self: Any) -> None:
    work(self.session)


def _looped(self: Any) -> None:
    self.run_async(self.work())


async def _async(self: Any) -> None:
    await work_async(self.session)


def _group(database: str, name: str, title: str, missing: str) -> Group:
    cases: dict[str, type[unittest.TestCase]] = {
        "no isolation": SyncFloor,
        "hand-written recipe": SyncRecipe,
        "dbtestcase": SyncOurs,
        "async, no isolation, one loop": AsyncFloor,
        "async, hand-written recipe": AsyncRecipe,
        "async, dbtestcase": AsyncOurs,
    }
    measures = {what: partial(round_trips, case, database) for what, case in cases.items()}
    if not missing and make_url(database).query.keys() & {"host", "unix_socket"}:
        missing = "its server is not named by host and port"
    return Group(f"round-trips-{name}", f"round trips, {title}", measures, (), 1, missing)


def groups() -> list[Group]:
    no_postgresql = no_server("DBTESTCASE_POSTGRESQL") or no_module("psycopg", "asyncpg")
    no_mysql = no_server("DBTESTCASE_MYSQL") or no_module("pymysql", "asyncmy")
    return [
        _group(POSTGRESQL, "postgresql", "PostgreSQL", no_postgresql),
        _group(MYSQL, "mysql", "MariaDB", no_mysql),
    ]
