"""Plans: where the assertion passes, where it fails, and what a person reads then."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, aliased

from dbtestcase import DatabaseTestCase, UsageError

from .behaviour import ISOLATIONS, Async, Sync
from .shop import Account, Order, Shop


class Plans(Shop):
    def test_index_used(self) -> None:
        for email in ("alice@example.org", "nobody"):
            query = select(Account).where(Account.email == email)
            self.check(self.assertIndexUsed("uq_accounts_email", query))
        query = select(Account.id).where(Account.name.in_(["alice", "bob"]))
        self.check(self.assertIndexUsed("ix_accounts_name", query))
        query = select(Order.id).where(Order.number == "A1")
        self.check(self.assertIndexUsed("ix_orders_number", query))

    def test_index_used_though_reading_all_is_cheaper(self) -> None:
        rows = [{"email": f"{n}@example.org", "name": "x", "balance": 0} for n in range(300)]
        self.sql(insert(Account), rows)
        query = select(Account).where(Account.name >= "a")
        self.check(self.assertIndexUsed("ix_accounts_name", query))

    def test_index_used_by_a_join(self) -> None:
        query = select(Account).join(Account.orders).where(Order.number == "A1")
        self.check(self.assertIndexUsed("ix_orders_number", query))

    def test_index_used_by_other_statements(self) -> None:
        sql = "SELECT * FROM accounts WHERE name = 'alice'"
        self.check(self.assertIndexUsed("ix_accounts_name", sql))
        query = text("SELECT * FROM accounts WHERE name = :name").bindparams(name="alice")
        self.check(self.assertIndexUsed("ix_accounts_name", query))
        change = update(Account).where(Account.name == "alice").values(balance=0)
        self.check(self.assertIndexUsed("ix_accounts_name", change))
        self.check(self.assertDatabaseHas(Account, name="alice", balance=30))

    def test_index_used_by_a_recorded_statement(self) -> None:
        with self.assertNumQueries(1) as statements:
            self.own_session.scalars(select(Account).where(Account.name == "alice")).all()
        self.check(self.assertIndexUsed("ix_accounts_name", statements[0]))

    def test_primary_key_used(self) -> None:
        alias = aliased(Account)
        for query in (
            select(Account).where(Account.id == 1001),
            select(Account).where(Account.id == 7),
            select(alias).where(alias.id == 1001),
            select(Order.number).join(alias, Order.account_id == alias.id),
            "SELECT * FROM accounts WHERE id = 1001",
            "SELECT name FROM accounts a WHERE a.id = 1001",
            update(Account).where(Account.id == 1001).values(balance=0),
        ):
            with self.subTest(str(query)):
                self.check(self.assertIndexUsed("pk_accounts", query))

    def test_primary_key_used_of_another_table(self) -> None:
        for query in (
            select(Order.number).where(Order.id == 2001),
            select(Order, Account.name)
            .join(Account, Account.balance > 1)
            .where(Order.id == 2001, Account.balance > 1),
        ):
            text = self.failure(self.assertIndexUsed, "pk_accounts", query)
            self.assertIn("pk_accounts is not used; the plan:", text)

    def test_index_used_whose_name_is_no_word(self) -> None:
        for query in (
            select(Account.id).where(Account.deleted_at == datetime(2024, 1, 2)),
            select(Account.deleted_at).order_by(Account.deleted_at),
        ):
            self.check(self.assertIndexUsed("ix-accounts (deleted)", query))

    def test_index_used_fails(self) -> None:
        query = select(Account.id).where(Account.balance > 10)
        lines = self.failure(self.assertIndexUsed, "ix_accounts_name", query).splitlines()
        self.assertEqual(lines[0], "ix_accounts_name is not used; the plan:")
        self.assertIn("accounts", "".join(lines[1:-1]))
        self.assertTrue(lines[-1].startswith("  of: SELECT accounts.id FROM accounts WHERE"), lines)

    def test_asking_leaves_settings_as_they_were(self) -> None:
        plain = self.own_connection.execute(text("EXPLAIN SELECT * FROM log")).all()
        self.failure(self.assertIndexUsed, "ix_accounts_name", "SELECT * FROM log")
        self.assertEqual(
            self.own_connection.execute(text("EXPLAIN SELECT * FROM log")).all(), plain
        )

    def test_wrong_use(self) -> None:
        query = select(Account.id).where(Account.balance > 10)
        self.assertEqual(
            self.misuse(self.assertIndexUsed, "ix_account_name", query),
            "there is no index 'ix_account_name'; did you mean 'ix_accounts_name'?",
        )
        self.assertIn("is no statement", self.misuse(self.assertIndexUsed, "ix", Account))
        for wrong in (query, "SELECT id FROM accounts"):
            self.assertIn(
                "is no index; the name of the index comes first, then the statement",
                self.misuse(self.assertIndexUsed, wrong, "ix_accounts_name"),
            )
        self.assertIn(
            "is no index; the name of the index comes first",
            self.misuse(self.assertIndexUsed, Account.__table__, query),
        )

    def test_statement_that_is_no_sql(self) -> None:
        with self.assertRaises(DBAPIError):
            self.check(self.assertIndexUsed("ix_accounts_name", "SELECT id FRM accounts"))


_archive = MetaData(schema="archive")
files = Table("files", _archive, Column("name", String(100), index=True), Column("size", Integer))


class PlansOfAnotherSchema(Shop):
    metadata = _archive

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        connection.execute(text("CREATE SCHEMA archive"))
        super().setUpDatabase(connection)  # type: ignore[misc]

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.execute(insert(files).values(name="a", size=1))

    def test_index_used(self) -> None:
        name = "ix_archive_files_name"
        self.check(self.assertIndexUsed(name, select(files).where(files.c.name == "a")))
        text = self.failure(self.assertIndexUsed, name, select(files).where(files.c.size == 1))
        self.assertIn(f"{name} is not used; the plan:", text)


class PlansOfAnotherDatabase(DatabaseTestCase):
    databases = {
        "default": {"database": "sqlite://", "metadata": MetaData()},
        "shop": {"metadata": Account.metadata},
    }

    def test_index_used_by_a_recorded_statement(self) -> None:
        query = select(Account).where(Account.name == "alice")
        with self.assertNumQueries(1) as statements:
            self.session_of("shop").scalars(query).all()
        self.assertIndexUsed("ix_accounts_name", statements[0])
        with self.assertRaises(UsageError):
            self.assertIndexUsed("ix_accounts_nam", statements[0])


class SyncPlans(Plans, Sync):
    pass


class AsyncPlans(Plans, Async):
    pass


if "truncation" in ISOLATIONS:

    class SyncPlansUnderTruncation(Plans, Sync):
        isolation = "truncation"


if "schema" in ISOLATIONS:

    class SyncPlansOfAnotherSchema(PlansOfAnotherSchema, Sync):
        pass

    class AsyncPlansOfAnotherSchema(PlansOfAnotherSchema, Async):
        pass
