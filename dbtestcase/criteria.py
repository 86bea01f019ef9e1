"""What rows are asked for: conditions, values of columns, and documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ARRAY, JSON, TableValuedAlias, and_, inspect, literal_column, select
from sqlalchemy.exc import CompileError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.expression import BooleanClauseList
from sqlalchemy.types import TypeDecorator

from .documents import Document
from .exceptions import UsageError
from .instances import is_instance, primary_key, state_of, title
from .wording import shortened

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.engine import Connection


_SHOWN_CHARACTERS = 200


class Criterion(NamedTuple):
    """Something that a row has to meet: an SQL ``expression``, or a ``document`` in a column."""

    key: str  # the name of the column, or the expression
    shown: str  # what is wanted
    text: str
    expression: Any = None
    column: Any = None
    document: Any = None


def of_condition(condition: Any, source: Any, connection: Connection) -> Criterion:
    """Return the criterion for an SQL expression about rows of ``source``.

    :raises UsageError: it is none, or is about rows of something else too.
    """
    if not isinstance(condition, ClauseElement) and not hasattr(condition, "__clause_element__"):
        raise UsageError(
            f"{condition!r} is not an SQL expression; write User.age > 17, or values as keywords"
        )
    text = _rendered(condition, source, connection)
    shown = shortened(text, _SHOWN_CHARACTERS)
    _refuse_other_tables(condition, source, shown)
    return Criterion(text, shown, shown, condition)


def of_value(name: str, column: Any, value: Any) -> Criterion:
    """Return the criterion for a ``column`` that has to have a ``value``.

    Documents are compared in Python: databases differ in how, if at all, they compare them.

    :raises UsageError: a document is wanted of what is no column, or an object that has no row.
    """
    if _is_to_one(column) and is_instance(value):
        return _of_object(name, column, value)
    shown = shortened(repr(value), _SHOWN_CHARACTERS)
    text = f"{name} = {shown}"
    type_ = getattr(column, "type", None)
    if type_ is None and isinstance(value, Document):
        raise UsageError(f"{name} is no column, so that match() cannot look into it")
    if type_ is None or not (isinstance(value, (Document, Mapping)) or _holds_documents(type_)):
        return Criterion(name, shown, text, column == value)
    document = value if isinstance(value, Document) else Document(value)
    return Criterion(name, shown, text, column=column, document=document)


def _of_object(name: str, relation: Any, value: Any) -> Criterion:
    """Return the criterion for a relationship to an object.

    The key is compared in the database: SQLAlchemy would load an expired object to compare with
    it, and so flush what its session has pending.
    """
    state, target = state_of(value), relation.property.mapper
    if not state.mapper.isa(target):
        raise UsageError(f"{name} is a {target.class_.__name__}, and {title(state)} is none")
    key = primary_key(state)
    if key is None:
        raise UsageError(f"{name} = {title(state)}, which has no primary key; flush it first")
    columns = [target.get_property_by_column(one).class_attribute for one in target.primary_key]
    same = (one == wanted for one, wanted in zip(columns, key.values(), strict=True))
    shown = f"<{title(state)}>"
    return Criterion(name, shown, f"{name} = {shown}", relation.has(and_(*same)))


def _is_to_one(column: Any) -> bool:
    return getattr(getattr(column, "property", None), "uselist", None) is False


def _holds_documents(type_: Any) -> bool:
    if isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return isinstance(type_, (JSON, ARRAY))


def _rendered(condition: Any, source: Any, connection: Connection) -> str:
    """Return the SQL of ``condition`` as it is where rows of ``source`` are asked for."""
    expression = getattr(condition, "__clause_element__", lambda: condition)()
    rows = _rows_of(source)
    try:
        start = f"{_literal(rows, connection)} \nWHERE "
        rendered = _literal(rows.where(expression), connection)
        if not rendered.startswith(start):
            rendered = _literal(expression, connection)
    except CompileError:
        rendered = str(expression)  # a value of a type that has no literal form
    text = rendered.removeprefix(start).replace(" \n", " ").replace("\n", " ").strip()
    return f"({text})" if isinstance(expression, BooleanClauseList) else text


def _literal(clause: ClauseElement, connection: Connection) -> str:
    return str(clause.compile(connection, compile_kwargs={"literal_binds": True}))


def _rows_of(source: Any) -> Select[Any]:
    return select(literal_column("1")).select_from(source)


def _refuse_other_tables(condition: Any, source: Any, shown: str) -> None:
    """Refuse a condition that would combine each row of ``source`` with rows of another table."""
    rows = _rows_of(source)
    known = rows.get_final_froms()
    for other in rows.where(condition).get_final_froms():
        # What is called as a function, such as json_each(), is called for each row.
        if other not in known and not isinstance(other, TableValuedAlias):
            own = getattr(inspect(source), "local_table", source)
            names = {"other": _name_of(other), "table": _name_of(own)}
            message = _SAME_NAME if names["other"] == names["table"] else _OTHER_TABLE
            raise UsageError(message.format(condition=shown, **names))


def _name_of(table: Any) -> str:
    return str(getattr(table, "fullname", getattr(table, "name", "a query")))


_OTHER_TABLE = """\
{condition} is about {other} too, and the assertion only about rows of {table}
  To fix this, either: go through a relationship, as in User.posts.any(Post.title == "one") or \
Post.author.has(User.name == "alice"); or ask with a subquery, as in \
User.id.in_(select(Post.author_id).where(Post.title == "one"))"""

_SAME_NAME = """\
{condition} is about a {other} that is not the one that the assertion is about
  To fix this, give the assertion the Table or mapped class that the condition has"""
