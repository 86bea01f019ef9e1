"""Names as long as can be, with quotes and letters that are not ASCII in them."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    UniqueConstraint,
    insert,
    update,
)
from sqlalchemy.orm import Session

from .behaviour import BACKEND, ISOLATIONS, Async, Sync
from .shop import Shop

IS_POSTGRESQL = BACKEND.dialect.name == "postgresql"  # where bytes are counted

BACKTICK = "" if BACKEND.dialect.name in {"mysql", "mariadb"} else "`"  # SQLAlchemy reads no other


def name(kind: str) -> str:
    """Return a name of 63 bytes or 64 characters, which differs from others at its end only."""
    rest = f"ä\"é'ø{BACKTICK}ß% :{kind}"
    size = 63 - len(rest.encode()) if IS_POSTGRESQL else 64 - len(rest)
    return "x" * size + rest


metadata = MetaData()
numbers = Sequence(name("numbers"), metadata=metadata)
parents = Table(
    name(". 1"),
    metadata,
    Column(name("id"), Integer, primary_key=True, key="id"),
    Column(name("text"), String(20), key="text"),
    UniqueConstraint("text", name=name("uq")),
)
children = Table(
    name(". 2"),
    metadata,
    Column(name("id"), Integer, primary_key=True, key="id"),
    Column(name("of"), Integer, key="of"),
    ForeignKeyConstraint(["of"], [parents.c.id], name=name("fk")),
    CheckConstraint("1 = 1", name=name("ck")),
)


class Identifiers(Shop):
    metadata = metadata
    reset_sequences = True

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.execute(insert(parents).values(text="alice"))
        session.execute(insert(children).values(of=1))

    def write(self) -> None:
        with self.own_engine.begin() as connection:
            has_sequences = connection.dialect.supports_sequences
            if has_sequences:
                self.assertEqual(connection.scalar(numbers.next_value()), 1)
            for table, values in ((parents, {"text": "bob"}), (children, {"of": 2})):
                done = connection.execute(insert(table).values(**values))
                self.assertEqual(done.inserted_primary_key, (2,))

    def test_accounting(self) -> None:
        with self.block(self.assertDatabaseChanges({parents: +1, children.name: +1})):
            self.write()
        said = self.block_failure(
            self.assertDatabaseChanges({children: 1}),
            lambda: self.sql(update(parents).values(text=parents.c.text + "!")),
        )
        self.assertIn(f"  {parents.name}: 2 updated, expected no change\n", said)

    def test_rows(self) -> None:
        self.write()
        self.check(self.assertDatabaseHas(parents, text="bob"))
        self.check(self.assertDatabaseCount(children, 2))
        self.check(self.assertDatabaseMissing(children, of=3))

    def test_constraints(self) -> None:
        with self.block(self.assertConstraintViolated(name("uq"))):
            self.sql(insert(parents).values(text="alice"))
        with self.block(self.assertConstraintViolated(name("fk"))):
            self.sql(insert(children).values(of=3))


class SyncIdentifiers(Identifiers, Sync): ...


class AsyncIdentifiers(Identifiers, Async): ...


if "truncation" in ISOLATIONS:

    class SyncUnderTruncation(Identifiers, Sync):
        isolation = "truncation"

    class AsyncUnderTruncation(Identifiers, Async):
        isolation = "truncation"


if "template" in ISOLATIONS:

    class SyncUnderTemplate(Identifiers, Sync):
        isolation = "template"


if "schema" in ISOLATIONS:

    class SyncUnderSchema(Identifiers, Sync):
        isolation = "schema"
