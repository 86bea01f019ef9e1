"""The application's session factories, whose sessions lead into a test's databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError

from .exceptions import OptionError, UsageError
from .references import resolve

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import async_sessionmaker
    from sqlalchemy.orm import Session

Redirect = Callable[[Engine], None]

_classes: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # of sync sessions, by async maker


class SessionFactories:
    """What the option ``session_factories`` names: makers of sessions, and registries of them.

    :param case: the test class.
    :param make_router: returns a session that knows which engine of the test has a table.
    :param redirect: lets an engine of the application lead into the test's database.
    :raises OptionError: a factory is none, or cannot be used in this class.
    """

    def __init__(self, case: Any, make_router: Callable[[], Session], redirect: Redirect) -> None:
        self._make_router = make_router
        self._redirect = redirect
        self._is_async: bool = case._dbtestcase_is_async
        factories = resolve(case.session_factories, "session_factories", _factory, _NO_FACTORY)
        self._registries = [one for one in factories if hasattr(one, "registry")]
        self._makers: list[Any] = list(
            dict.fromkeys(getattr(one, "session_factory", one) for one in factories)
        )
        for registry in self._registries:
            _check_registry(registry, case, is_async=self._is_async)
        for maker in self._makers:
            _refuse_shards(maker)

    @contextmanager
    def routed(self) -> Iterator[None]:
        """Let every session that the factories make lead to the test's databases."""
        with ExitStack() as undo:
            for maker in self._makers:
                self._route(maker, undo)
            yield

    def maker_of_shared_session(self, options: dict[str, Any]) -> Callable[..., Any] | None:
        """Return what makes the session that registries share with the test, if there is any.

        It is made as the application makes it, and bound to the test's databases.

        :param options: for it, with ``bind`` and ``binds``.
        """
        if not self._registries:
            return None
        make = self._registries[0].session_factory

        def make_session(**changed: Any) -> Any:
            given = {**options, **changed}
            get_bind = router(given.pop("bind"), given.pop("binds")).get_bind
            session = make(**given)
            getattr(session, "sync_session", session).get_bind = get_bind
            return session

        return make_session

    @contextmanager
    def pinned(self, session: Callable[[], Any]) -> Iterator[None]:
        """Let each registry give out what ``session`` returns, and keep it."""
        with ExitStack() as undo:
            for one in self._registries:
                undo.enter_context(_replaced(one, "registry", _PinnedRegistry(session)))
            yield

    def _route(self, maker: Any, undo: ExitStack) -> None:
        if hasattr(maker, "kw"):  # otherwise a function of the application makes the sessions
            for bind in _binds(maker):
                self._redirect(bind)
            if _is_async(maker):
                self._route_async(maker, undo)
            else:
                get_bind = self._get_bind(maker.class_, maker)
                undo.enter_context(_replaced(maker.class_, "get_bind", get_bind))

    def _route_async(self, maker: async_sessionmaker[Any], undo: ExitStack) -> None:
        session_class: Any = maker.kw.get("sync_session_class") or maker.class_.sync_session_class
        if hasattr(session_class, "class_"):  # a maker of the sync sessions behind the async ones
            get_bind = self._get_bind(session_class.class_, maker)
            undo.enter_context(_replaced(session_class.class_, "get_bind", get_bind))
        else:
            routed = _class_of(maker, session_class)
            get_bind = self._get_bind(session_class, maker)
            undo.enter_context(_replaced(maker, "kw", {**maker.kw, "sync_session_class": routed}))
            undo.enter_context(_replaced(routed, "get_bind", get_bind))

    def _get_bind(self, session_class: type[Session], maker: Any) -> Callable[..., Any]:
        """Return a ``get_bind`` that does as the application's, and leads to the test."""
        from sqlalchemy.orm import Session

        chosen: Callable[..., Any] = session_class.get_bind
        may_be_unbound = chosen is Session.get_bind

        def get_bind(session: Session, *args: Any, **kwargs: Any) -> Engine | Connection:
            try:
                bind: Engine | Connection = chosen(session, *args, **kwargs)
            except UnboundExecutionError:
                if not may_be_unbound or session.bind is not None or maker.kw.get("binds"):
                    raise
                return self._own_bind(maker, *args, **kwargs)
            if isinstance(bind, Engine):
                self._redirect(bind)
            return bind

        return get_bind

    def _own_bind(self, maker: Any, *args: Any, **kwargs: Any) -> Engine | Connection:
        if _is_async(maker) != self._is_async:
            raise UsageError(_UNBOUND.format(maker=maker))
        bind: Engine | Connection = self._router.get_bind(*args, **kwargs)
        return bind

    @cached_property
    def _router(self) -> Session:
        return self._make_router()


def router(bind: Any, binds: dict[Any, Any]) -> Session:
    """Return a session that leads to these engines, sync or async ones."""
    from sqlalchemy.orm import Session

    def sync(engine: Any) -> Engine:
        found: Engine = getattr(engine, "sync_engine", engine)
        return found

    return Session(sync(bind), binds={table: sync(engine) for table, engine in binds.items()})


class _PinnedRegistry:
    """Has one session for all, which nobody can remove."""

    def __init__(self, session: Callable[[], Any]) -> None:
        self._session = session

    def __call__(self) -> Any:
        return self._session()

    def has(self) -> bool:
        return False  # so that remove() closes nothing

    def set(self, session: object) -> None: ...

    def clear(self) -> None: ...


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give ``owner`` an attribute; on exit it has what it had of its own, if anything."""
    own = dict(vars(owner))
    setattr(owner, name, value)
    try:
        yield
    finally:
        if name in own:
            setattr(owner, name, own[name])
        else:
            delattr(owner, name)


def _factory(value: Any) -> Any:
    from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
    from sqlalchemy.orm import scoped_session, sessionmaker

    kinds = (sessionmaker, async_sessionmaker, scoped_session, async_scoped_session)
    return value if isinstance(value, kinds) else None


def _is_async(maker: Any) -> bool:
    from sqlalchemy.ext.asyncio import async_sessionmaker

    return isinstance(maker, async_sessionmaker)


def _class_of(maker: Any, session_class: type[Session]) -> Any:
    """Return the class of what ``maker`` makes in any test class: sessions outlive one."""
    found = _classes.get(maker)
    if found is None or found.__base__ is not session_class:
        found = _classes[maker] = type(session_class.__name__, (session_class,), {})
    return found


def _binds(maker: Any) -> Iterator[Engine]:
    """Yield the engines that the sessions of ``maker`` are bound to."""
    for bind in [maker.kw.get("bind"), *(maker.kw.get("binds") or {}).values()]:
        engine = getattr(bind, "sync_engine", bind)
        if isinstance(engine, Engine):
            yield engine
        elif engine is not None:
            raise OptionError(_CONNECTED.format(maker=maker))


def _check_registry(registry: Any, case: Any, *, is_async: bool) -> None:
    if case.session_class is not None:
        raise OptionError(_CONTRADICTION.format(registry=registry))
    if _is_async_registry(registry) != is_async:
        needed = "an async_scoped_session" if is_async else "a scoped_session"
        raise OptionError(_OTHER_COLOUR.format(registry=registry, needed=needed))


def _is_async_registry(registry: Any) -> bool:
    from sqlalchemy.ext.asyncio import async_scoped_session

    return isinstance(registry, async_scoped_session)


def _refuse_shards(maker: Any) -> None:
    from sqlalchemy.ext.horizontal_shard import ShardedSession

    session_class = getattr(maker, "class_", None)
    if isinstance(session_class, type) and issubclass(session_class, ShardedSession):
        raise OptionError(_SHARDED)


_NO_FACTORY = """\
which makes no sessions that could be led into a test's database.
  To fix this, name a sessionmaker, async_sessionmaker, scoped_session or async_scoped_session, as \
an object, as "module:attribute", or as a function that returns it; of any other code that opens \
sessions, name the engine in engines"""

_CONNECTED = """\
session_factories contains {maker!r}, which is bound to a connection that is open already.
  To fix this, bind it to an engine"""

_CONTRADICTION = """\
session_class and session_factories contradict each other: {registry!r} shares the session of the \
test, which is made as the application makes it.
  To fix this, leave session_class out"""

_OTHER_COLOUR = """\
session_factories contains {registry!r}, which cannot share the session of this class: that takes \
{needed}.
  To fix this, leave it out, and name its engine in engines; between tests it is removed"""

_UNBOUND = """\
A session was used that {maker!r} has made, which is bound to no engine. The test's own engine \
serves sync sessions in a DatabaseTestCase, and async ones in an AsyncDatabaseTestCase.
  To fix this, bind it to an engine before, as the application does in production"""

_SHARDED = """\
session_factories contains a factory of ShardedSession. Its shards have the same tables with other \
rows, and in one database every shard would find the rows of all.
  To fix this, either: test against one shard, with an ordinary sessionmaker; or leave it out, \
describe a database for each shard in databases, with the engine of the shard in its engines, and \
create the tables of all but the default one in setUpDatabase"""
