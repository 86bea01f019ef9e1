"""A history of revisions with branches and merges, and the models that it leads to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table

_ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool
from benchmarks.migration_history import models

config = context.config


def migrate(connection):
    context.configure(connection=connection, target_metadata=models(@COUNT@))
    with context.begin_transaction():
        context.run_migrations()


connectable = config.attributes.get("connection")
if connectable is None:
    section = config.get_section(config.config_ini_section, {})
    connectable = engine_from_config(section, poolclass=pool.NullPool)
if hasattr(connectable, "connect"):
    with connectable.connect() as connection:
        migrate(connection)
else:
    migrate(connectable)
"""

_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {after!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
"""


class _Revision(NamedTuple):
    name: str
    after: str | tuple[str, ...] | None
    upgrade: str = "pass"
    downgrade: str = "pass"


def _table(number: int, after: str | tuple[str, ...] | None) -> Iterator[_Revision]:
    """Yield ten revisions of one table: new, two columns, two branches, their merge, more."""
    table, names = f"t{number}", [f"r{number:03}_{step}" for step in range(10)]
    create = f"op.create_table({table!r}, sa.Column('id', sa.Integer, primary_key=True))"
    yield _Revision(names[0], after, create, f"op.drop_table({table!r})")

    def add(step: int, after: str) -> _Revision:
        column = f"sa.Column('c{step}', sa.String(20), server_default='x')"
        upgrade = f"op.add_column({table!r}, {column})"
        return _Revision(names[step], after, upgrade, f"op.drop_column({table!r}, 'c{step}')")

    yield add(1, names[0])
    yield add(2, names[1])
    child = f"{table}_child"
    columns = "sa.Column('id', sa.Integer, primary_key=True), "
    columns += f"sa.Column('parent', sa.Integer, sa.ForeignKey('{table}.id'))"
    create = f"op.create_table({child!r}, {columns})"
    yield _Revision(names[3], names[2], create, f"op.drop_table({child!r})")
    index = f"op.create_index('ix_{table}', {table!r}, ['c1'])"
    yield _Revision(names[4], names[2], index, f"op.drop_index('ix_{table}', {table!r})")
    yield _Revision(names[5], (names[3], names[4]))
    for step in range(6, 10):
        yield add(step, names[step - 1])


def write(directory: Path, count: int) -> Path:
    """Write ``count`` revisions, rounded to tens, and return the path of their ``alembic.ini``."""
    ini, scripts = directory / "alembic.ini", directory / "scripts"
    with redirect_stdout(io.StringIO()):
        command.init(Config(str(ini)), str(scripts), "generic")
    (scripts / "env.py").write_text(_ENV.replace("@COUNT@", str(count)))
    after = None
    for number in range(count // 10):
        for revision in _table(number, after):
            path = scripts / "versions" / f"{revision.name}.py"
            path.write_text(_REVISION.format(**revision._asdict()))
            after = revision.name
    return ini


def models(count: int) -> MetaData:
    """Return the models that ``count`` revisions lead to."""
    metadata = MetaData()
    for number in range(count // 10):
        columns = [Column(f"c{n}", String(20), server_default="x") for n in (1, 2, 6, 7, 8, 9)]
        table = Table(f"t{number}", metadata, Column("id", Integer, primary_key=True), *columns)
        Index(f"ix_t{number}", table.c.c1)
        parent = Column("parent", ForeignKey(f"t{number}.id"))
        Table(f"t{number}_child", metadata, Column("id", Integer, primary_key=True), parent)
    return metadata
