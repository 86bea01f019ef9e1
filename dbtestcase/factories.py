"""factory_boy's and polyfactory's factories, which make their objects in a test's session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from inspect import iscoroutinefunction
from random import Random
from typing import Any

from .references import resolve


class Factories:
    """What the option ``factories`` names, and all that is derived from it.

    :param value: of the option.
    :raises OptionError: it names something else.
    """

    def __init__(self, value: Any) -> None:
        self._bases = resolve(value, "factories", _factory, _NO_FACTORY)

    def __bool__(self) -> bool:
        return bool(self._bases)

    @contextmanager
    def making(self, session: Any, seed: str) -> Iterator[None]:
        """Let them make objects in ``session``; afterwards they are as before.

        :param session: a ``Session`` or an ``AsyncSession``.
        :param seed: decides what random values they make.
        """
        with ExitStack() as undo:
            for base in self._bases:
                make = _making_by_factory_boy if _is_factory_boy(base) else _making_by_polyfactory
                undo.enter_context(make(base, session, seed))
            yield

    @contextmanager
    def sequences_restored(self) -> Iterator[None]:
        """Let the sequences of factory_boy go on, afterwards, where they stood."""
        with ExitStack() as undo:
            for base in filter(_is_factory_boy, self._bases):
                for one in _family(base):
                    if one._meta.counter_reference is one._meta:
                        number = one._meta.next_sequence()
                        one.reset_sequence(number)
                        undo.callback(one.reset_sequence, number)
            yield


@contextmanager
def _making_by_factory_boy(base: Any, session: Any, seed: str) -> Iterator[None]:
    random: Any = import_module("factory.random")
    of_faker: Any = import_module("faker.generator").random

    def options() -> list[Any]:
        return [one._meta for one in _family(base)]

    def given(options: Any) -> dict[str, Any]:
        own_session = _of_colour(session, options.factory)
        return {"sqlalchemy_session": own_session, "sqlalchemy_session_factory": None}

    state, faker_state = random.randgen.getstate(), of_faker.getstate()
    with _given(options, given):
        random.reseed_random(seed)
        try:
            yield
        finally:
            random.set_random_state(state)
            of_faker.setstate(faker_state)


@contextmanager
def _making_by_polyfactory(base: Any, session: Any, seed: str) -> Iterator[None]:
    def factories() -> list[Any]:
        return _family(base)

    sync_session = getattr(session, "sync_session", session)
    given = {"__session__": sync_session, "__random__": Random(seed)}  # noqa: S311
    if session is not sync_session:
        given["__async_session__"] = session
    faker = base.__faker__
    faker_random = faker.random
    with _given(factories, lambda factory: given):
        faker.random = Random(seed)  # noqa: S311
        try:
            yield
        finally:
            faker.random = faker_random


@contextmanager
def _given(
    owners: Callable[[], list[Any]], values_of: Callable[[Any], dict[str, Any]]
) -> Iterator[None]:
    """Give its ``values_of`` to the first of ``owners()``, and to others that have own values.

    Afterwards all have what they had. Owners that are new then, and have inherited, have what
    the first one had.
    """
    first = owners()[0]
    names = list(values_of(first))
    inherited = {name: getattr(first, name, None) for name in names}
    before = {owner: _own(owner, names) for owner in owners()}
    for owner, own in before.items():
        for name in names if owner is first else own:
            setattr(owner, name, values_of(owner)[name])
    try:
        yield
    finally:
        for name in set(names) - before[first].keys():
            delattr(first, name)
        for owner in owners():
            restored = before.get(owner, {})
            if owner not in before and _has_any(owner, values_of(owner)):
                restored = {name: inherited[name] for name in _own(owner, names)}
            for name, value in restored.items():
                setattr(owner, name, value)


def _has_any(owner: Any, values: dict[str, Any]) -> bool:
    own = _own(owner, list(values))
    return any(value is not None and value is values[name] for name, value in own.items())


def _own(owner: Any, names: list[str]) -> dict[str, Any]:
    return {name: vars(owner)[name] for name in names if name in vars(owner)}


def _of_colour(session: Any, factory: Any) -> Any:
    """Return what ``factory`` can use: a sync session, unless its methods are coroutines."""
    methods = (getattr(factory, name, None) for name in ("create", "_create", "_save"))
    return (
        session
        if any(map(iscoroutinefunction, methods))
        else getattr(session, "sync_session", session)
    )


def _family(base: Any) -> list[Any]:
    """Return ``base`` and all that is derived from it, ancestors first."""
    found = [base]
    for one in found:
        found += [heir for heir in one.__subclasses__() if heir not in found]
    return found


def _is_factory_boy(value: Any) -> bool:
    bases = value.__mro__ if isinstance(value, type) else ()
    return hasattr(getattr(value, "_meta", None), "sqlalchemy_session") or any(
        base.__module__ == "factory.alchemy" for base in bases
    )


def _factory(value: Any) -> Any:
    is_polyfactory = isinstance(value, type) and hasattr(value, "__async_session__")
    return value if _is_factory_boy(value) or is_polyfactory else None


_NO_FACTORY = """\
which is no factory of SQLAlchemy objects.
  To fix this, name factories of factory_boy (SQLAlchemyModelFactory) or polyfactory \
(SQLAlchemyFactory), or a base of them, as classes, or as "module:attribute\""""
