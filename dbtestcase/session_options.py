"""The options of sessions, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from inspect import Parameter, signature
from typing import Any

from .exceptions import OptionError
from .wording import suggestion

_OURS = ("bind", "binds")
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def check_session_options(case: Any) -> None:
    """Check the ``session_class`` and the ``session_options`` of ``case``.

    :raises OptionError: there can be no such session.
    """
    if case.session_class is not None:
        _check_class(case)
    if not isinstance(case.session_options, dict):
        raise OptionError(f"session_options = {case.session_options!r} is not a dictionary")
    for name in _OURS:
        if name in case.session_options:
            raise OptionError(f"session_options has {name!r}; sessions are bound to the test")
    if case.session_options and not case.session_factories:  # else the application may make them
        _check_names(case)


def _check_class(case: Any) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    value = case.session_class
    bases = (AsyncSession, Session) if case._dbtestcase_is_async else (Session,)
    if not (isinstance(value, type) and issubclass(value, bases)):
        names = " or ".join(base.__name__ for base in bases)
        is_other = isinstance(value, type) and issubclass(value, AsyncSession)
        hint = "; derive the class from AsyncDatabaseTestCase" if is_other else ""
        raise OptionError(f"session_class = {value!r} is not a subclass of {names}{hint}")


def _check_names(case: Any) -> None:
    known: set[str] = set()
    for initializer in _initializers(case):
        parameters = _parameters(initializer)
        if _takes_any(parameters) and not _is_sqlalchemys(initializer):
            return  # its **kwargs may be for itself
        known.update(one.name for one in parameters if one.kind in _NAMED)
    for name in {str(name) for name in case.session_options} - known:
        hint = suggestion(name, sorted(known.difference(_OURS)), "they take")
        raise OptionError(f"session_options has {name!r}, which sessions do not take; {hint}")


def _initializers(case: Any) -> Iterator[Callable[..., None]]:
    """Yield each ``__init__`` that the options are handed on to."""
    for session_class in _classes(case):
        for base in session_class.__mro__:
            initializer = vars(base).get("__init__")
            if initializer is not None:
                yield initializer
                if not _takes_any(_parameters(initializer)):
                    return
                if _is_sqlalchemys(initializer):
                    break  # AsyncSession, which hands them on to the session behind it


def _classes(case: Any) -> list[type]:
    """Return the class of the sessions, and for async ones that of the sessions behind them."""
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    given = case.session_class
    if not case._dbtestcase_is_async:
        return [given or Session]
    is_async = given is None or issubclass(given, AsyncSession)
    outer = (given or AsyncSession) if is_async else AsyncSession
    behind = outer.sync_session_class if is_async else given
    behind = case.session_options.get("sync_session_class", behind)
    return [outer, behind if isinstance(behind, type) else behind.class_]  # of a sessionmaker


def _parameters(initializer: Callable[..., None]) -> list[Parameter]:
    """Return those after ``self``, of a decorated one of the application those of its wrapper."""
    written = signature(initializer, follow_wrapped=_is_sqlalchemys(initializer))
    return list(written.parameters.values())[1:]


def _takes_any(parameters: Iterable[Parameter]) -> bool:
    return any(one.kind is Parameter.VAR_KEYWORD for one in parameters)


def _is_sqlalchemys(initializer: Callable[..., None]) -> bool:
    return initializer.__module__.partition(".")[0] == "sqlalchemy"
