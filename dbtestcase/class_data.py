"""Class data: what ``setUpTestData`` puts on the class, given anew to each test.

ORM objects are kept as detached copies of their rows. A test that asks for one gets an
instance of its own, attached to its session, and so does everything it was related to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.attributes import set_committed_value

from .exceptions import ClassDataError

if TYPE_CHECKING:
    from sqlalchemy.orm import RelationshipProperty, SessionTransaction

_NOT_LOADED_BY_READING = {"raise", "raise_on_sql", "noload", "dynamic", "write_only"}

Key = tuple[Any, ...]
InstancesOf = Callable[[Any], "Instances | None"]


class Row:
    """A detached copy of an ORM object's columns, and by relationship the keys of other rows."""

    def __init__(self, copy: Any) -> None:
        self.copy = copy
        values = {key: getattr(copy, key) for key in _columns(inspect(copy))}
        #: Values that a test could change in place, such as those of JSON columns.
        self.mutable = {
            key: own for key, value in values.items() if (own := deepcopy(value)) is not value
        }
        self.related: dict[str, list[Key]] = {}
        self.to_many: dict[str, bool] = {}


class ClassData:
    """The attributes that ``owner`` has gained since ``before``, a copy of its ``vars()``.

    :param instances_of: returns the :class:`Instances` of a test, or None before its set-up.
    """

    def __init__(self, owner: type, before: dict[str, Any], instances_of: InstancesOf) -> None:
        self._owner = owner
        self._before = before
        self._instances_of = instances_of
        self._values = {
            name: value
            for name, value in vars(owner).items()
            if name not in before or before[name] is not value
        }
        self._rows: dict[Key, Row] = {}

    def capture(self, session: Session) -> None:
        """Copy the ORM objects, and let each test find instances of its own.

        :param session: has committed the objects; what another session committed is read
            again through this one.
        :raises ClassDataError: an object has no row, so that no test could have it.
        """
        with Session() as copies:
            for name, value in self._values.items():
                for found in _mapped_objects(value):
                    self._copy_graph(self._in_session(found, session, name), copies)
            for row in self._rows.values():
                relationships = inspect(row.copy).mapper.relationships.keys()
                if relationships:  # to expire no attributes means to expire all of them
                    copies.expire(row.copy, relationships)
            copies.expunge_all()
        for name, value in self._values.items():
            if type(value) in (list, tuple, set, dict) or _is_mapped(value):
                setattr(self._owner, name, ClassAttribute(name, value, self._instances_of))

    def instances(self, session: Session) -> Instances:
        """Return the instances that one test has, in its new ``session``."""
        return Instances(self._rows, session)

    def forget(self) -> None:
        """Put the class's attributes back as they were."""
        for name in self._values:
            if name in self._before:
                setattr(self._owner, name, self._before[name])
            elif name in vars(self._owner):
                delattr(self._owner, name)

    def _in_session(self, found: Any, session: Session, name: str) -> Any:
        state: InstanceState[Any] = inspect(found)
        if state.session is session and state.persistent:
            return found
        same = state.identity and session.get(type(found), state.identity)
        if same is None:
            raise ClassDataError(
                f"{self._owner.__qualname__}.{name} holds a {type(found).__name__} that has no row "
                "in the database.\n  To fix this, add it to the session in setUpTestData, or make "
                "it in setUp"
            )
        return same

    def _copy_graph(self, start: Any, copies: Session) -> None:
        pending = [start]
        while pending:
            found = pending.pop()
            state: InstanceState[Any] = inspect(found)
            if _key(state) in self._rows:
                continue
            assert state.session is not None
            state.session.refresh(found, _columns(state))
            row = self._rows[_key(state)] = Row(copies.merge(found, load=False))
            loaded = [
                relationship
                for relationship in state.mapper.relationships
                if relationship.key in state.dict and not relationship.viewonly
            ]
            for relationship in loaded:
                value = getattr(found, relationship.key)
                members = value if relationship.uselist else [value] if value is not None else []
                members = list(members.values() if isinstance(members, dict) else members)
                row.related[relationship.key] = [_key(inspect(member)) for member in members]
                row.to_many[relationship.key] = bool(relationship.uselist)
                _load_reverse(relationship, members)
                pending.extend(members)


class Instances:
    """The instances of class data that one test has, in its ``session``."""

    def __init__(self, rows: dict[Key, Row], session: Session) -> None:
        self._rows = rows
        self._session = session
        self._instances: dict[Key, Any] = {}
        self._expired = False
        self.own: dict[str, Any] = {}  # what the test was given, by attribute
        if rows:
            event.listen(session, "after_transaction_end", self._transaction_ended)

    def of(self, value: Any) -> Any:
        """Return ``value`` with each ORM object in it replaced by this test's own."""
        if type(value) in (list, tuple, set):
            return type(value)(self.of(item) for item in value)
        if type(value) is dict:
            return {key: self.of(item) for key, item in value.items()}
        if _is_mapped(value):
            return self._instance(_key(inspect(value)))
        return value

    def _instance(self, key: Key) -> Any:
        """Return the instance for ``key``, as it would be had it been loaded first thing."""
        pending = [key]
        created: list[Key] = []
        while pending:
            one = pending.pop()
            if one in self._instances:
                continue
            if one in self._session.identity_map:
                self._instances[one] = self._session.identity_map[one]
                continue
            row = self._rows[one]
            for name, value in row.mutable.items():
                set_committed_value(row.copy, name, deepcopy(value))
            self._instances[one] = self._session.merge(row.copy, load=False)
            created.append(one)
            for related in self._rows[one].related.values():
                pending.extend(related)
        for one in created:
            self._relate(self._instances[one], self._rows[one])
        return self._instances[key]

    def _relate(self, instance: Any, row: Row) -> None:
        if self._expired:
            self._session.expire(instance)
            return
        for name, keys in row.related.items():
            members = [self._instances[key] for key in keys]
            value = members if row.to_many[name] else members[0] if members else None
            set_committed_value(instance, name, value)

    def _transaction_ended(self, session: Session, transaction: SessionTransaction) -> None:
        self._expired = self._expired or (transaction.parent is None and session.expire_on_commit)


class ClassAttribute:
    """Class data: on the class the object that was put there, on a test the test's own."""

    def __init__(self, name: str, value: Any, instances_of: InstancesOf) -> None:
        self.name = name
        self.value = value
        self._instances_of = instances_of

    def __get__(self, test: Any, owner: type) -> Any:
        instances = None if test is None else self._instances_of(test)
        if instances is None:
            return self.value
        own = instances.own.get(self.name, instances)
        if own is instances:
            own = instances.own[self.name] = instances.of(self.value)
        return own


def _is_mapped(value: Any) -> bool:
    return isinstance(inspect(value, raiseerr=False), InstanceState)


def _mapped_objects(value: Any) -> Iterator[Any]:
    if type(value) is dict:
        value = list(value.values())
    if type(value) in (list, tuple, set):
        for item in value:
            yield from _mapped_objects(item)
    elif _is_mapped(value):
        yield value


def _load_reverse(relationship: RelationshipProperty[Any], members: list[Any]) -> None:
    """Load the other side too, which SQLAlchemy does not when only one side was set."""
    reverse = relationship.mapper.relationships.get(relationship.back_populates or "")
    if reverse is not None and reverse.lazy not in _NOT_LOADED_BY_READING:
        for member in members:
            getattr(member, reverse.key)


def _columns(state: InstanceState[Any]) -> list[str]:
    return [column.key for column in state.mapper.column_attrs if not column.deferred]


def _key(state: InstanceState[Any]) -> Key:
    key = state.identity_key
    assert key is not None
    return key
