"""One connection for whoever asks: for a while, engines lead to it, whatever their URL.

Code that makes its own engine, or imports that of the application, cannot be told where to
connect. While a connection is lent, each engine that such code connects gets a pool and a
dialect that lead to the lent one, as the engines of a test do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from copy import copy
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from .exceptions import OptionError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Dialect

_LOAN: ContextVar[Loan | None] = ContextVar("dbtestcase_loan", default=None)
_LOANS: list[Loan] = []  # that run, for threads that have no context of theirs
_LOCK = threading.RLock()
_DRIVER = "dbtestcase"

#: What an ``env.py`` does that cannot use the loan, and what it should do.
IN_THREAD = (
    "makes an engine in a thread that it starts, where the database of the test cannot take its "
    "place",
    "use config.attributes['connection'], which is there, or connect without a thread",
)


class Loan:
    """A connection that is lent, and the engines that lead to it meanwhile.

    :param connection: is not used by its owner until they have it back.
    """

    def __init__(self, connection: Connection, give_back: ExitStack) -> None:
        self.dialect = _without_close(connection.dialect)
        self._lent: Any = connection.connection.dbapi_connection
        self._engine = connection.engine
        self._give_back = give_back
        self._led: set[Engine] = set()
        self.is_missed = False  # by a thread that has made an engine for it

    @property
    def url(self) -> str:
        """A URL whose engines, of either colour, can be made without another driver."""
        name = self.dialect.name
        registry.register(f"{name}.{_DRIVER}", __name__, "LentDialect")
        return f"{name}+{_DRIVER}://"

    def connect(self) -> Connection:
        """Open the lent connection, as the engines do."""
        return self._engine.connect()

    def is_of(self, connection: Connection) -> bool:
        """Tell whether ``connection`` is the lent one."""
        return connection.connection.dbapi_connection is self._lent

    def lead(self, engine: Engine) -> None:
        """Let ``engine`` lead to the lent connection until that is given back."""
        if engine not in self._led:
            self._led.add(engine)
            self._give_back.callback(_restore, engine, engine.pool, engine.dialect)
            event.listen(engine, "before_cursor_execute", _give_way)
            self._give_back.callback(event.remove, engine, "before_cursor_execute", _give_way)
            engine.pool = NullPool(lambda: self._lent, dialect=self.dialect)
            engine.dialect = self.dialect


@contextmanager
def lending(connection: Connection) -> Iterator[Loan]:
    """Let each engine that the block connects lead to ``connection``, and be as before after it.

    What was open on ``connection`` is committed first, so that the block can begin and end
    transactions. Other threads connect as ever, unless the block starts them in its context.
    """
    with _LOCK, ExitStack() as give_back:
        if connection.in_transaction():
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
        loan = Loan(connection, give_back)
        give_back.callback(_LOAN.reset, _LOAN.set(loan))
        _LOANS.append(loan)
        give_back.callback(_LOANS.remove, loan)
        give_back.enter_context(_leading("connect"))
        give_back.enter_context(_leading("raw_connection"))
        yield loan


@contextmanager
def _leading(method: str) -> Iterator[None]:
    """Let a method of ``Engine`` that opens connections ask the loan first.

    The one seam: SQLAlchemy has no event that comes before an engine connects and can change
    where to.
    """
    original: Callable[[Engine], Any] = getattr(Engine, method)

    def led(engine: Engine) -> Any:
        loan = _LOAN.get()
        if loan is not None:
            loan.lead(engine)
        return original(engine)

    setattr(Engine, method, led)
    try:
        yield
    finally:
        setattr(Engine, method, original)


class LentDialect(DefaultDialect):
    """What ``create_engine`` finds for :attr:`Loan.url`: the dialect of what is lent."""

    @classmethod
    def get_dialect_cls(cls, url: URL) -> type[Dialect]:
        loan = _LOAN.get()
        if loan is None:
            for missed in _LOANS:
                missed.is_missed = True
            raise OptionError(f"env.py {IN_THREAD[0]}.\n  To fix this, {IN_THREAD[1]}")
        return type(loan.dialect)

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[Dialect]:
        """Return a class that an ``AsyncEngine`` accepts; it is replaced before it connects."""
        pool_class = {"get_pool_class": classmethod(lambda cls, url: NullPool)}
        return type("Async", (cls.get_dialect_cls(url),), {"is_async": True, **pool_class})


def _without_close(dialect: Dialect) -> Dialect:
    kept: Any = copy(dialect)
    kept.do_close = kept.do_terminate = lambda connection: None
    return kept  # type: ignore[no-any-return]


def _restore(engine: Engine, pool: Any, dialect: Dialect) -> None:
    engine.pool, engine.dialect = pool, dialect


def _give_way(*args: Any) -> None:
    """Let the event loop have its turn: SQLAlchemy's asyncio refuses drivers that never do."""
    if in_greenlet():
        await_only(asyncio.sleep(0))
