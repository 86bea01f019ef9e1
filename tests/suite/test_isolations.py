"""The core assertions under the isolations that have real transactions of their own."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from .behaviour import ISOLATIONS, Async, Sync
from .shop import Account, Item, Order, Shop, log


class CoreAssertions(Shop):
    def test_rows(self) -> None:
        self.sql(insert(log).values(line="done"))
        self.check(self.assertDatabaseHas(Order, account=self.alice))
        self.check(self.assertDatabaseHas("log", line="done"))
        self.check(self.assertDatabaseMissing(Account, name="carl"))
        self.check(self.assertDatabaseCount(Account, 1, Account.balance > 20))
        self.check(self.assertDatabaseEmpty(exclude=[Account, Order, Item, log]))
        self.assertIn(
            "1 row in log, expected none", self.failure(self.assertDatabaseMissing, "log")
        )
        self.assertIn("log: 1 row\n", self.failure(self.assertDatabaseEmpty))

    def test_starts_as_the_class_data_says(self) -> None:
        self.check(self.assertDatabaseCount(Account, 2))
        self.check(self.assertDatabaseEmpty(log))

    def test_what_another_connection_has_not_committed_is_not_there(self) -> None:
        self.own_connection.execute(insert(log).values(line="done"))
        self.check(self.assertDatabaseEmpty(log))
        self.own_connection.commit()
        self.check(self.assertDatabaseCount(log, 1))

    def test_changes(self) -> None:
        changes = self.assertDatabaseChanges({Account: +1, "items": -2})
        with self.block(changes), Session(self.app_engine) as session:
            session.add(Account(email="carl@example.org"))
            session.execute(delete(Item))
            session.commit()
        text = self.block_failure(
            self.assertDatabaseChanges({}), lambda: self.sql(update(Order).values(number="A2"))
        )
        self.assertIn("orders: 1 updated, expected no change", text)

    def test_constraint(self) -> None:
        with self.block(self.assertConstraintViolated("uq_accounts_email")):
            self.own_session.add(Account(email="alice@example.org"))
            self.own_session.flush()
        with self.block(self.assertConstraintViolated("fk_orders_account")):
            self.sql(update(Order).values(account_id=1))
        self.own_session.add(Account(email="carl@example.org"))
        self.own_session.commit()
        self.check(self.assertDatabaseCount(Account, 3))

    def test_commits(self) -> None:
        self.own_connection.execute(insert(log).values(line="done"))
        self.assertIn("INSERT INTO log", self.failure(self.assertCommitted))
        self.own_connection.commit()
        self.check(self.assertCommitted())

    def test_queries(self) -> None:
        with self.assertNumQueries(2), Session(self.app_engine) as session:
            session.add(Account(email="carl@example.org"))
            session.commit()
            session.scalars(select(Account)).all()

    def test_models_and_plans(self) -> None:
        self.check(self.assertModelExists(self.alice))
        self.check(self.assertSoftDeleted(self.bob))
        query = select(Account.id).where(Account.name == "alice")
        self.check(self.assertIndexUsed("ix_accounts_name", query))


if "template" in ISOLATIONS:

    class SyncUnderTemplate(CoreAssertions, Sync):
        isolation = "template"

    class AsyncUnderTemplate(CoreAssertions, Async):
        isolation = "template"


if "schema" in ISOLATIONS:

    class SyncUnderSchema(CoreAssertions, Sync):
        isolation = "schema"

    class AsyncUnderSchema(CoreAssertions, Async):
        isolation = "schema"
