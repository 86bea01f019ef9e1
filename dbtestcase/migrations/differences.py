"""What would have to be done to a database so that it is as the models say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import MigrateOperation, OpContainer, UpgradeOps
from alembic.runtime.migration import MigrationContext

from ..exceptions import UsageError
from .environment import run
from .schema import MigrationsSchema

if TYPE_CHECKING:
    from sqlalchemy import MetaData
    from sqlalchemy.engine import Connection

_NAMES = ("table_name", "constraint_name", "index_name")


def differences(
    connection: Connection,
    schema: MigrationsSchema | None,
    metadata: Sequence[MetaData],
    exclude: Collection[str] = (),
) -> str:
    """Return the operations, as a revision would have them, from the database to the models.

    Types and server defaults are compared too. What ``env.py`` tells Alembic of comparing holds.

    :param schema: the migrations, whose ``env.py`` it is, if there are any.
    :param metadata: the models; if there are none, those that ``env.py`` names.
    :param exclude: patterns of names of tables, indexes and constraints, and of columns, as
        ``table.column``, whose differences do not count.
    :raises UsageError: there are no models.
    """
    if schema is None:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return _compared(context, metadata, exclude)
    found = []

    def compare(heads: object, context: MigrationContext) -> list[Any]:
        models = metadata or context.opts["target_metadata"]
        if models is None:
            raise UsageError(
                "There are no models to compare with: the class has no metadata, and env.py has "
                "target_metadata = None.\n"
                "  To fix this, write for example metadata = Base.metadata in the class"
            )
        found.append(_compared(context, models, exclude))
        return []

    run(schema.source, connection, compare, dont_mutate=True)
    return found[0]


def _compared(context: MigrationContext, metadata: Any, exclude: Collection[str]) -> str:
    script = produce_migrations(context, metadata)
    operations = _without(script.upgrade_ops.ops if script.upgrade_ops else (), exclude)
    if not operations:
        return ""
    rendered = render_python_code(
        UpgradeOps(operations),
        migration_context=MigrationContext.configure(dialect=context.dialect),
        render_as_batch=context.opts.get("render_as_batch", False),
        render_item=context.opts.get("render_item"),
        user_module_prefix=context.opts.get("user_module_prefix"),
    )
    said = [line for line in rendered.splitlines() if not line.strip().startswith("# ###")]
    return "\n".join(said)


def _without(
    operations: Iterable[MigrateOperation], exclude: Collection[str]
) -> list[MigrateOperation]:
    left: list[MigrateOperation] = []
    for operation in operations:
        if isinstance(operation, OpContainer):
            operation.ops = _without(operation.ops, exclude)
            left += [operation] if operation.ops else []
        elif not any(
            fnmatchcase(name, pattern) for name in _names(operation) for pattern in exclude
        ):
            left.append(operation)
    return left


def _names(operation: Any) -> list[str]:
    """Return what a pattern may mean ``operation`` by."""
    names = [str(found) for name in _NAMES if (found := getattr(operation, name, None))]
    column = getattr(operation, "column_name", None) or getattr(
        getattr(operation, "column", None), "name", None
    )
    return [*names, f"{operation.table_name}.{column}"] if column else names
