"""What the template is made by that a test class has its database from."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

from .code_digest import attributes_used, code_digest

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from .aliases import DatabaseOptions
    from .backends import Backend

_ALIAS = "dbtestcase_alias"  # documented: in a connection's info, for setUpDatabase
_BUILDING = "dbtestcase_building"  # in a connection's info: the options and backend of a template
_SCHEMA_APPLIED = "dbtestcase_schema_applied"


class Plan(NamedTuple):
    """What a template is made by, and what it is known as in this process and in others."""

    key: Hashable
    fingerprint: str
    build: Callable[[Connection], None]
    lasting: bool


def plan(case: Any, alias: str, options: DatabaseOptions, backend: Backend) -> Plan:
    """Return how the template is made that a test class has its database from."""

    def build(connection: Connection) -> None:
        connection.info[_ALIAS] = alias
        connection.info[_BUILDING] = options, backend
        case.setUpDatabase(connection)
        apply_schema(connection)

    schema = options.schema().fingerprint(backend.dialect)
    hooks = tuple(
        vars(base)["setUpDatabase"] for base in case.__mro__ if "setUpDatabase" in vars(base)
    )
    if len(hooks) > 1:  # the case has its own, which may look at the alias
        schema += alias
    fingerprint = schema + "".join(code_digest(hook.__func__, case) for hook in hooks)
    used = (attributes_used(hook.__func__, case).items() for hook in hooks)
    source = options.metadata if options.migrations is None else options.migrations
    key = (backend, source, schema, hooks, *map(frozenset, used))
    return Plan(key, fingerprint, build, options.migrations is not None)


def apply_schema(connection: Connection) -> None:
    """Create the tables of the template that is being built, unless they have been."""
    if not connection.info.get(_SCHEMA_APPLIED):
        options, backend = connection.info[_BUILDING]
        with backend.as_deployed(connection):
            options.schema().apply(connection)
        connection.info[_SCHEMA_APPLIED] = True
