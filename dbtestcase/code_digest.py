"""What a function does, as a digest that is the same in every process."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from sqlalchemy.exc import CompileError
from sqlalchemy.sql import ClauseElement

_PLAIN = (str, bytes, int, float, bool, type(None), type(...))


def code_digest(function: Any, case: type | None = None) -> str:
    """Return a digest of ``function``: its code, and what it refers to by name.

    That is constants and functions of its module, or of a module that is imported there, default
    arguments and the variables around it, as far as they are plain values, SQL, or functions, or
    collections of these. What other objects contain is not looked at.

    :param case: the test class that it is called on, whose attributes it may refer to.
    """
    return hashlib.sha256(repr(_described(function, {}, case)).encode()).hexdigest()


class Identity:
    """Equal to that of the same object only, which it keeps alive, whatever becomes of it."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)


def attributes_used(function: Any, case: type) -> dict[str, Identity]:
    """Return the attributes of ``case`` that ``function`` and the methods it calls may refer to."""
    found: dict[str, Identity] = {}
    left = [function]
    while left:
        method = inspect.unwrap(left.pop())
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        for name in names_in(code) if code is not None else ():
            if name not in found and (value := _attribute(case, name)) is not None:
                found[name] = Identity(value)
                left.append(value)
    return found


def mentions(case: type, name: str) -> bool:
    """Tell whether a method of ``case`` refers to an attribute or a global called ``name``."""
    return any(name in names_in(method.__code__) for method in _methods(case))


def _methods(case: type) -> Iterator[FunctionType]:
    """Yield the methods that ``case`` has from outside of this package, without decorators."""
    for base in case.__mro__:
        if base.__module__.partition(".")[0] != __package__:
            for value in vars(base).values():
                method: Any = value.fget if isinstance(value, property) else value
                if isinstance(method, (FunctionType, classmethod, staticmethod)):
                    function: Any = getattr(method, "__func__", method)
                    if isinstance(function := inspect.unwrap(function), FunctionType):
                        yield function


def _described(value: Any, seen: dict[int, object], case: type | None = None) -> object:
    if isinstance(value, _PLAIN):
        return value
    if id(value) in seen:
        return "seen"
    seen[id(value)] = value  # kept alive, so that nothing else gets its id
    if isinstance(value, partial):
        value = [value.func, value.args, value.keywords]
    if isinstance(value, dict):
        value = [*value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        inside = [_described(one, seen, case) for one in value]
        return sorted(map(repr, inside)) if isinstance(value, (set, frozenset)) else inside
    if isinstance(value, ClauseElement):
        return _of_sql(value, seen)
    function = getattr(inspect.unwrap(value) if callable(value) else value, "__func__", value)
    if isinstance(function, FunctionType):
        return _of_function(function, seen, case)
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _of_function(function: FunctionType, seen: dict[int, object], case: type | None) -> object:
    names = names_in(function.__code__)
    named = {name: _known(function.__globals__.get(name), names) for name in names}
    around = [_inside(cell) for cell in function.__closure__ or ()]
    refers = [named, around, function.__defaults__, function.__kwdefaults__]
    if case is not None:
        refers.append({name: _attribute(case, name) for name in names})
    return [_of_code(function.__code__), [_described(one, seen, case) for one in refers]]


def _known(value: object, names: list[str]) -> object:
    """Return ``value``, or of a module what ``names`` may mean in it."""
    if isinstance(value, ModuleType):
        return {name: vars(value)[name] for name in names if name in vars(value)}
    return value


def _attribute(case: type, name: str) -> object:
    """Return an attribute that ``case`` has from outside of this package and of unittest."""
    for base in case.__mro__:
        if name in vars(base):
            package = base.__module__.partition(".")[0]
            return None if package in (__package__, "unittest", "builtins") else vars(base)[name]
    return None


def _of_sql(value: ClauseElement, seen: dict[int, object]) -> object:
    try:
        compiled = value.compile()
    except CompileError:  # it needs the dialect of a database
        return f"{type(value).__module__}.{type(value).__qualname__}"
    return [str(compiled), _described(getattr(compiled, "params", None), seen)]


def _inside(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # of a variable that has no value yet
        return "nothing"


def names_in(code: CodeType) -> list[str]:
    """Return the names of globals and attributes that ``code`` refers to."""
    inside = [one for one in code.co_consts if isinstance(one, CodeType)]
    return sorted({*code.co_names, *(name for one in inside for name in names_in(one))})


def _of_code(code: CodeType) -> object:
    constants = [
        _of_code(one) if isinstance(one, CodeType) else _described(one, {})
        for one in code.co_consts
    ]
    return code.co_code, constants, code.co_names
