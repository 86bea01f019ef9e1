"""The class options: their names, their values, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from inspect import getattr_static
from types import FunctionType
from typing import Any, Literal, TypeVar, get_args

from .aliases import databases_of, placing
from .backends import Backend, backend_for
from .environment import default_database
from .exceptions import BackendError, OptionError
from .hooks import check_hook
from .session_options import check_session_options
from .wording import suggestion

Isolation = Literal["transaction", "truncation", "template", "schema"]

ISOLATIONS: tuple[str, ...] = get_args(Isolation)
OPTIONS = (
    "database",
    "metadata",
    "migrations",
    "engines",
    "databases",
    "session_factories",
    "factories",
    "isolation",
    "session_class",
    "session_options",
    "reset_sequences",
)
PROVIDED = (
    "session",
    "connection",
    "engine",
    "session_factory",
    "session_of",
    "engine_of",
    "statements",
)

_MARK = "dbtestcase_isolation"

_OWN = {
    "engine": "; for the application's own, write engines = [engine]",
    "session_factory": "; for the application's own, write session_factories = [session_factory]",
}

_TEST_CASES = {"dbtestcase.case", "dbtestcase.async_case"}  # the modules of the two
_METHODS = (FunctionType, classmethod, staticmethod, property)

Function = TypeVar("Function", bound=Callable[..., Any])


def isolation(value: Isolation) -> Callable[[Function], Function]:
    """Set the isolation of one test method.

    :param value: as for the class option of the same name.
    :raises OptionError: ``value`` is no isolation.
    """
    if callable(value):
        raise OptionError('isolation has no value; write for example @isolation("truncation")')
    _check_isolation(value)

    def decorate(test: Function) -> Function:
        if isinstance(test, type):
            raise OptionError(f'{test.__qualname__} is a class; write isolation = "{value}" in it')
        setattr(test, _MARK, value)
        return test

    return decorate


def isolation_of(case: Any, method_name: str) -> str:
    """Return the isolation of one test method of ``case``."""
    mark = getattr(getattr(case, method_name, None), _MARK, None)
    value: str = mark if isinstance(mark, str) else case.isolation
    return value


def backend_of(case: Any, database: str | None) -> Backend:
    """Return the backend of a ``database`` of ``case``, else of the environment's.

    :raises OptionError: there is none such, or it lacks the isolation of ``case``.
    """
    with placing("" if database else "DBTESTCASE_DATABASE says "):
        backend = backend_for(database or default_database())
    check_isolation(backend, case.isolation)
    return backend


def check_isolation(backend: Backend, name: str) -> None:
    """Check that ``backend`` has that isolation.

    :raises OptionError: it has not; says which it has.
    """
    if name not in backend.features.isolations:
        able = " or ".join(map(repr, sorted(backend.features.isolations)))
        also = backend.features.elsewhere
        raise OptionError(f"{backend.title} has no isolation = {name!r}; use {able}{also}")


def used_isolations(case: Any) -> set[str]:
    """Return the isolations of ``case`` and of all its test methods."""
    marks = (getattr(getattr(case, name, None), _MARK, None) for name in dir(case))
    return {case.isolation, *(mark for mark in marks if isinstance(mark, str))}


def check_options(case: Any) -> None:
    """Check what ``case`` defines.

    :raises OptionError: with the name of the class, the option, and the fix.
    """
    with placing(f"{case.__module__}.{case.__qualname__}: "):
        _check_bases(case)
        for base in case.__mro__:
            if base.__module__.partition(".")[0] not in ("dbtestcase", "unittest", "builtins"):
                for name, value in vars(base).items():
                    _check_name(name, value)
                    if getattr_static(case, name) is value:  # nothing in its place
                        check_hook(name, value, base, case)
        if not isinstance(case.reset_sequences, bool):
            raise OptionError(
                f"reset_sequences = {case.reset_sequences!r} is neither True nor False"
            )
        check_session_options(case)
        _check_isolation(case.isolation)
        for options in databases_of(case).values():
            if options.database is not None:
                with placing(options.place), suppress(BackendError):  # which set-up raises
                    backend_of(case, options.database)


def _check_bases(case: type) -> None:
    if {base.__module__ for base in case.__mro__} >= _TEST_CASES:
        raise OptionError(
            "it derives from both DatabaseTestCase and AsyncDatabaseTestCase; write one class for "
            "the sync tests, and one for the async ones"
        )


def _check_name(name: str, value: Any) -> None:
    if name in PROVIDED:
        hint = _OWN.get(name, "")
        raise OptionError(f"{name} is what dbtestcase gives to each test; use another name{hint}")
    if name.startswith("_") or name in OPTIONS or isinstance(value, _METHODS):
        return
    near = get_close_matches(name, OPTIONS, n=1, cutoff=0.85)
    if near:
        raise OptionError(f"there is no option {name}; did you mean {near[0]}?")


def _check_isolation(value: Any) -> None:
    if value not in ISOLATIONS:
        hint = suggestion(str(value), ISOLATIONS, "choose from")
        raise OptionError(f"isolation = {value!r} does not exist; {hint}")
