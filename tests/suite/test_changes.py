"""Complete accounting: where it passes, where it fails, and what a person reads then."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from dbtestcase import Changes

from .behaviour import BACKEND, ISOLATIONS, Async, Sync
from .shop import Account, Item, Order, Shop, log


class AllChanges(Shop):
    def test_changes(self) -> None:
        with self.block(self.assertDatabaseChanges({})):
            self.own_session.scalars(select(Account)).all()
        with self.block(self.assertDatabaseChanges({Account: +1, "items": -2, log: 2})):
            self.own_session.add(Account(email="carl@example.org"))
            self.own_session.commit()
            self.sql(delete(Item))
            self.sql(insert(log), [{"line": "same"}, {"line": "same"}])
        with self.block(self.assertDatabaseChanges({Account: Changes(inserted=1, updated=2)})):
            self.sql(update(Account).where(Account.email < "c").values(balance=1))
            self.sql(insert(Account).values(email="dora@example.org", balance=0))
        for exclude in ([Account], Account, "accounts"):
            with self.block(self.assertDatabaseChanges({}, exclude=exclude)):
                self.sql(update(Account).values(balance=Account.balance + 2))

    def test_changes_fails(self) -> None:
        def act() -> None:
            self.sql(update(Item).where(Item.product == "pen").values(code="P"))
            self.sql(delete(Item).where(Item.product == "ink"))
            self.sql(insert(log).values(line="done"))
            self.sql(update(Order).values(number="A2"))

        self.says(
            self.block_failure(self.assertDatabaseChanges({Account: 1, log: 1, Item: -2}), act),
            "The database did not change as expected:",
            "  accounts: no change, expected 1 inserted",
            "  items: 1 updated, 1 deleted, expected 2 deleted",
            "      ~ order_id=2001, product='pen', code=None → 'P'",
            "      - order_id=2001, product='ink', code=None",
            "  orders: 1 updated, expected no change",
            "      ~ id=2001, number='A1' → 'A2'",
            "  as expected: log",
        )

    def test_changes_of_a_table_that_comes_and_goes(self) -> None:
        if not BACKEND.features.transactional_ddl and self.isolation == "transaction":
            return
        with self.block(self.assertDatabaseChanges({})):
            self.sql(text("CREATE TABLE extra (id INTEGER)"))
        self.assertIn(
            "extra: 1 inserted, expected no change\n      + id=1",
            self.block_failure(
                self.assertDatabaseChanges({}),
                lambda: self.sql(text("INSERT INTO extra VALUES (1)")),
            ),
        )
        self.assertIn(
            "extra: 1 deleted, expected no change\n      - id=1",
            self.block_failure(
                self.assertDatabaseChanges({}), lambda: self.sql(text("DROP TABLE extra"))
            ),
        )

    def test_changes_of_columns_are_none_of_rows(self) -> None:
        if not BACKEND.features.transactional_ddl and self.isolation == "transaction":
            return
        self.sql(insert(log), [{"line": "same"}, {"line": "same"}])
        with self.block(self.assertDatabaseChanges({Account: Changes(updated=1)})):
            self.sql(text("ALTER TABLE items ADD COLUMN note INTEGER DEFAULT 3"))
            self.sql(text("ALTER TABLE log ADD COLUMN note INTEGER DEFAULT 3"))
            self.sql(update(Account).where(Account.name == "bob").values(balance=3))
            self.sql(text("ALTER TABLE accounts ADD COLUMN note INTEGER"))
        with self.block(self.assertDatabaseChanges({Item: -2})):
            for _ in range(6):  # until drivers prepare statements
                self.check(self.assertDatabaseCount(Item, 2))
                with self.block(self.assertDatabaseChanges({})):
                    pass
            self.sql(text("ALTER TABLE items DROP COLUMN note"))
            self.sql(delete(Item))

    def test_changes_fails_for_what_is_not_flushed(self) -> None:
        text = self.block_failure(
            self.assertDatabaseChanges({Account: 1}),
            lambda: self.own_session.add(Account(email="carl@example.org")),
        )
        self.assertIn("self.session has unflushed changes (Account)", text)

    def test_changes_are_not_asked_for_after_an_error(self) -> None:
        with self.assertRaises(ZeroDivisionError), self.block(self.assertDatabaseChanges({log: 1})):
            raise ZeroDivisionError

    def test_wrong_use(self) -> None:
        for message, expected in [
            ("there is no table 'account'; did you mean 'accounts'?", {"account": 1}),
            ("accounts is named twice", {"accounts": 1, Account: 1}),
            ("'one' is neither a number, such as +1, nor Changes(", {Account: "one"}),
            ("True is neither a number, such as +1, nor Changes(", {Account: True}),
            ("is no dictionary; write for example {User: +1}, or {} for no change", Account),
            ("'accounts' is no dictionary; write for example {User: +1}", "accounts"),
            ("None is no dictionary; write for example {User: +1}", None),
            ("inserted='1' is no number of rows; wr", {Account: Changes(inserted="1")}),  # type: ignore[arg-type]
            ("example Changes(deleted=1)", {Account: Changes(updated=2, deleted=-1)}),
        ]:
            self.assertIn(message, self.misuse(self.assertDatabaseChanges, expected))


_two_schemas = MetaData()
files, archived = (
    Table("files", _two_schemas, Column("id", Integer, primary_key=True), schema=schema)
    for schema in (None, "archive")
)


class ChangesOfTwoSchemas(Shop):
    metadata = _two_schemas

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        connection.execute(text("CREATE SCHEMA archive"))
        super().setUpDatabase(connection)  # type: ignore[misc]

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.execute(insert(archived).values(id=1))

    def test_tables_of_the_same_name(self) -> None:
        def act() -> None:
            self.sql(insert(files).values(id=1))
            self.sql(delete(archived))

        with self.block(self.assertDatabaseChanges({files: +1, "archive.files": -1})):
            act()
        self.sql(delete(files))
        self.sql(insert(archived).values(id=1))
        self.says(
            self.block_failure(self.assertDatabaseChanges({archived: +1}), act),
            "The database did not change as expected:",
            "  archive.files: 1 deleted, expected 1 inserted",
            "      - id=1",
            "  files: 1 inserted, expected no change",
            "      + id=1",
        )
        self.check(self.assertDatabaseCount("files", 1))
        self.check(self.assertDatabaseEmpty(archived))
        self.check(self.assertDatabaseEmpty(exclude="files"))
        self.assertIn(
            "files: 1 row", self.failure(self.assertDatabaseEmpty, exclude="archive.files")
        )


class SyncAllChanges(AllChanges, Sync):
    pass


class AsyncAllChanges(AllChanges, Async):
    pass


if "truncation" in ISOLATIONS:

    class SyncAllChangesUnderTruncation(AllChanges, Sync):
        isolation = "truncation"

    class AsyncAllChangesUnderTruncation(AllChanges, Async):
        isolation = "truncation"


if "schema" in ISOLATIONS:

    class SyncChangesOfTwoSchemas(ChangesOfTwoSchemas, Sync):
        pass

    class AsyncChangesOfTwoSchemas(ChangesOfTwoSchemas, Async):
        isolation = "truncation"
