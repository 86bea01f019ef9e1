"""Assertions about what ORM objects have loaded, and about what they load by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_stack
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from ..exceptions import UsageError
from ..instances import state_of, title
from ..statements import caller
from ..wording import suggestion
from .base import BaseAssertions, Block_co, Outcome_co

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy.orm import InstanceState, ORMExecuteState


class LoadingAssertions(BaseAssertions[Outcome_co, Block_co]):
    """Which attributes of ORM objects are loaded."""

    def assertLoaded(self, instance: Any, /, *attributes: Any) -> Outcome_co:
        """Fail unless all ``attributes`` of ``instance`` are loaded: to read them emits no SQL.

        ``self.assertLoaded(alice, "posts")`` or ``self.assertLoaded(alice, User.posts)``

        :param instance: an object of a mapped class.
        :param attributes: columns or relationships.
        :raises UsageError: there is no such attribute, or none was named.
        """
        check = self._loaded(instance, attributes, wanted=True)
        return self._dbtestcase_check("assertLoaded", check)

    def assertNotLoaded(self, instance: Any, /, *attributes: Any) -> Outcome_co:
        """Fail if one of ``attributes`` of ``instance`` is loaded.

        ``self.assertNotLoaded(alice, "posts")``

        Arguments and errors are those of :meth:`assertLoaded`.
        """
        check = self._loaded(instance, attributes, wanted=False)
        return self._dbtestcase_check("assertNotLoaded", check)

    def assertNoLazyLoads(self) -> AbstractContextManager[None]:
        """Fail as soon as an ORM object loads something by itself inside the ``with`` block.

        ``with self.assertNoLazyLoads(): ...``, in async tests as well.

        That is a relationship or column that is read and was not loaded, was deferred, or has
        expired. What a query loads, in whichever way, is no lazy load, nor is what a session needs
        to ``refresh()``, ``get()``, ``merge()``, ``delete()`` or ``flush()``. It looks at all
        sessions. A failure that the block swallows is raised again at its end.
        """
        return self._block("assertNoLazyLoads", self._no_lazy_loads())

    def _loaded(self, instance: Any, attributes: tuple[Any, ...], *, wanted: bool) -> Any:
        state = state_of(instance)
        names = [_attribute(state, one) for one in attributes]
        if not names:
            raise UsageError(f"no attribute of {title(state)} is named")

        def check() -> None:
            wrong = [name for name in names if (name in state.unloaded) == wanted]
            if wrong:
                loaded = ", ".join(name for name in _names(state) if name not in state.unloaded)
                only = f", {f'only {loaded}' if loaded else 'nor anything else'}" if wanted else ""
                raise self.failureException(
                    f"{title(state)} has {'not ' if wanted else ''}loaded {', '.join(wrong)}{only}"
                )

        return check

    @contextmanager
    def _no_lazy_loads(self) -> Iterator[None]:
        from sqlalchemy.orm import Session

        failures: list[Any] = []

        def refuse(execution: ORMExecuteState) -> None:
            what = _lazily_loaded(execution)
            if what:
                failures.append(self.failureException(f"Lazy load of {what}\n  at {caller()}"))
                raise failures[-1]

        event.listen(Session, "do_orm_execute", refuse)
        try:
            yield
        finally:
            event.remove(Session, "do_orm_execute", refuse)
        if failures:
            raise failures[0]


def _attribute(state: InstanceState[Any], attribute: Any) -> str:
    name = attribute if isinstance(attribute, str) else getattr(attribute, "key", "")
    known = _names(state)
    if name not in known:
        hint = suggestion(str(name), known, "it has")
        what = repr(attribute) if isinstance(attribute, str) else str(attribute)
        raise UsageError(f"{state.mapper.class_.__name__} has no attribute {what}; {hint}")
    return str(name)


def _names(state: InstanceState[Any]) -> list[str]:
    return [str(attribute.key) for attribute in state.mapper.attrs]


def _lazily_loaded(execution: ORMExecuteState) -> str:
    """Return what is about to be loaded, if that is because an object was asked for it."""
    from sqlalchemy.orm import Session

    state = execution.lazy_loaded_from
    if not (execution.is_column_load or (execution.is_relationship_load and state is not None)):
        return ""
    if _is_called_by(Session.refresh, Session.get, Session.merge, Session.delete, Session.flush):
        return ""
    path: Any = execution.loader_strategy_path
    if state is not None and path:
        return f"{path[-1].key} of {title(state)}"
    mapper = execution.bind_mapper
    return f"expired or deferred columns of {mapper.class_.__name__ if mapper else 'an object'}"


def _is_called_by(*functions: Any) -> bool:
    codes = {function.__code__ for function in functions}
    return any(frame.f_code in codes for frame, _ in walk_stack(None))
