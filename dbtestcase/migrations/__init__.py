"""Schemas that Alembic's migrations make. Nothing else in the package imports Alembic."""

from .differences import differences
from .history import competing_heads, orphans
from .reports import named
from .schema import MigrationsSchema, migrations_schema

__all__ = [
    "MigrationsSchema",
    "competing_heads",
    "differences",
    "migrations_schema",
    "named",
    "orphans",
]
