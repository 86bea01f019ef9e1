"""Histories of revisions, made by Alembic's own ``init`` in temporary directories."""

from __future__ import annotations

import hashlib
import io
from contextlib import redirect_stdout
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table

import dbtestcase

_REVISION = '''"""{doc}"""

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {after!r}
branch_labels = {label!r}
depends_on = {depends_on!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
'''


def digest_of_package() -> str:
    """Return a digest of the code that is tested."""
    package = Path(dbtestcase.__file__).parent
    contents = [path.read_bytes() for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256(b"".join(contents)).hexdigest()


class History:
    """A directory with an ``alembic.ini`` and what it refers to.

    :param template: of ``alembic init``.
    """

    def __init__(self, directory: Path, template: str = "generic") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.ini = directory / "alembic.ini"
        self.scripts = directory / "scripts"
        with redirect_stdout(io.StringIO()):
            command.init(Config(str(self.ini)), str(self.scripts), template)
        text = self.ini.read_text()
        self.ini.write_text(text.replace(f"= {self.scripts}", "= %(here)s/scripts"))

    @property
    def env_py(self) -> Path:
        return self.scripts / "env.py"

    def write(
        self,
        revision: str,
        after: str | tuple[str, ...] | None,
        upgrade: str = "pass",
        downgrade: str = "pass",
        *,
        doc: str = "",
        label: str | None = None,
        depends_on: str | None = None,
        directory: Path | None = None,
    ) -> Path:
        """Write a revision, and return its file."""
        path = (directory or self.scripts / "versions") / f"{revision}.py"
        path.parent.mkdir(exist_ok=True)
        text = _REVISION.format(
            doc=doc,
            revision=revision,
            after=after,
            label=label,
            depends_on=depends_on,
            upgrade=upgrade.replace("\n", "\n    "),
            downgrade=downgrade.replace("\n", "\n    "),
        )
        path.write_text(text)
        return path


#: The models that :func:`write_library` leads to.
library = MetaData()
Table(
    "authors",
    library,
    Column("id", Integer, primary_key=True),
    Column("first_name", String(50), nullable=False),
    Column("last_name", String(50), nullable=False, server_default="?"),
)
Table(
    "books",
    library,
    Column("id", Integer, primary_key=True),
    Column("title", String(50), nullable=False),
    Column("author_id", ForeignKey("authors.id"), nullable=False),
)


def write_library(history: History) -> None:
    """Write four revisions, of which two are branches and one joins them again."""
    history.write(
        "a1",
        None,
        "op.create_table('authors', sa.Column('id', sa.Integer, primary_key=True),\n"
        "                sa.Column('name', sa.String(50), nullable=False))",
        "op.drop_table('authors')",
        doc="Create authors",
    )
    history.write(
        "b1",
        "a1",
        "op.create_table('books', sa.Column('id', sa.Integer, primary_key=True),\n"
        "                sa.Column('title', sa.String(50), nullable=False),\n"
        "                sa.Column('author_id', sa.Integer, sa.ForeignKey('authors.id'),\n"
        "                          nullable=False))",
        "op.drop_table('books')",
        doc="Create books",
    )
    history.write("b2", "a1", _SPLIT, _JOIN, doc="Split names")
    history.write("c1", ("b1", "b2"), doc="Join the branches")


_SPLIT = """\
with op.batch_alter_table('authors') as authors:
    authors.add_column(sa.Column('last_name', sa.String(50), nullable=False, server_default='?'))
    authors.alter_column('name', new_column_name='first_name', existing_type=sa.String(50),
                         existing_nullable=False)
table = sa.table('authors', sa.column('id'), sa.column('first_name'), sa.column('last_name'))
for author in op.get_bind().execute(sa.select(table)).all():
    first, _, last = author.first_name.partition(' ')
    op.execute(table.update().where(table.c.id == author.id)
               .values(first_name=first, last_name=last or '?'))"""

_JOIN = """\
with op.batch_alter_table('authors') as authors:
    authors.alter_column('first_name', new_column_name='name', existing_type=sa.String(50),
                         existing_nullable=False)
    authors.drop_column('last_name')"""


def write_long(history: History, count: int, note: Path) -> MetaData:
    """Write ``count`` revisions, four for each table, and return the models that they lead to.

    Of the four one creates it, two are branches, and one joins them. Each adds a line with its
    name to the file ``note`` when it upgrades.
    """
    models, last = MetaData(), None
    noted = "with open({!r}, 'a') as note: note.write('{}\\n')\n"
    for number in range(0, count, 4):
        new, left, right, joined = (f"r{number + step:03}" for step in range(4))
        table = f"t{number:03}"
        create = f"op.create_table({table!r}, sa.Column('id', sa.Integer, primary_key=True))"
        steps = [(new, last, create, f"op.drop_table({table!r})")]
        for name in (left, right):
            column = f"sa.Column({name!r}, sa.String(20), server_default='x')"
            add = f"op.add_column({table!r}, {column})"
            steps.append((name, new, add, f"op.drop_column({table!r}, {name!r})"))
        steps.append((joined, (left, right), "pass", "pass"))
        for name, after, upgrade, downgrade in steps:
            history.write(name, after, noted.format(str(note), name) + upgrade, downgrade)
        last = joined
        columns = [Column(name, String(20), server_default="x") for name in (left, right)]
        Table(table, models, Column("id", Integer, primary_key=True), *columns)
    return models
