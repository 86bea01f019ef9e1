"""Assertions about ORM objects: where they pass and fail, and what a person reads then."""

from __future__ import annotations

from sqlalchemy import delete, update

from .behaviour import Async, Sync
from .shop import Account, Item, Order, Shop


class Models(Shop):
    def test_model_exists(self) -> None:
        self.check(self.assertModelExists(self.alice))
        self.check(self.assertModelExists(self.alice.orders[0].items[0]))
        self.alice.email = "unflushed@example.org"
        self.check(self.assertModelExists(self.alice))

    def test_model_exists_fails(self) -> None:
        number = self.bob.id
        self.sql(delete(Account).where(Account.id == number))
        self.assertIn(self.bob, self.own_session)
        self.says(
            self.failure(self.assertModelExists, self.bob),
            f"Account with id = {number} is not in accounts, which has 1 row",
        )
        new = Account(email="carl@example.org")
        self.own_session.add(new)
        self.says(
            self.failure(self.assertModelExists, new),
            "This Account has no primary key, so it was never flushed to accounts",
            "  self.session has unflushed changes (Account): flush or commit it first",
        )

    def test_model_missing(self) -> None:
        self.sql(delete(Account).where(Account.id == self.bob.id))
        self.check(self.assertModelMissing(self.bob))
        self.check(self.assertModelMissing(Account(email="carl@example.org")))

    def test_model_missing_fails(self) -> None:
        order = self.alice.orders[0]
        self.says(
            self.failure(self.assertModelMissing, order),
            "Order with id = 2001 is still in orders:",
            "    id=2001, number='A1', account_id=1001, is_deleted=False",
        )

    def test_soft_deleted(self) -> None:
        self.check(self.assertSoftDeleted(self.bob))
        self.check(self.assertSoftDeleted(Account, name="bob"))
        self.check(self.assertSoftDeleted(Account, name="alice", column="balance"))
        self.sql(update(Order).values(is_deleted=True))
        for target in (Order, "orders", Order.__table__):
            self.check(self.assertSoftDeleted(target))

    def test_soft_deleted_fails(self) -> None:
        self.says(
            self.failure(self.assertSoftDeleted, self.alice.orders[0]),
            "1 row with id = 2001 in orders, but not soft-deleted, by is_deleted:",
            "    id=2001, number='A1', account_id=1001, is_deleted=False",
        )
        text = self.failure(self.assertSoftDeleted, self.alice)
        self.assertIn("but not soft-deleted, by deleted_at:", text)
        self.assertIn("deleted_at=None", text)
        text = self.failure(self.assertSoftDeleted, Account, name="carl")
        self.assertIn("No row with name = 'carl' in accounts, which has 2 rows; the near", text)

    def test_not_soft_deleted(self) -> None:
        self.check(self.assertNotSoftDeleted(self.alice))
        self.check(self.assertNotSoftDeleted(Account, name="alice"))
        for target in (Order, "orders", Order.__table__):
            self.check(self.assertNotSoftDeleted(target))

    def test_not_soft_deleted_fails(self) -> None:
        text = self.failure(self.assertNotSoftDeleted, self.bob)
        self.assertIn(f"1 row with id = {self.bob.id} in accounts, but soft-deleted", text)
        self.assertIn("deleted_at=datetime.datetime(2024, 1, 2, 0, 0)", text)
        text = self.failure(self.assertNotSoftDeleted, Account, name="carl")
        self.assertIn("No row with name = 'carl' in accounts, which has 2 rows; the near", text)

    def test_wrong_use(self) -> None:
        for assertion in (self.assertModelExists, self.assertModelMissing):
            self.assertIn("5 is no object of a mapped class", self.misuse(assertion, 5))
            self.assertIn("write an object of it", self.misuse(assertion, Account))
        for assertion in (self.assertSoftDeleted, self.assertNotSoftDeleted):
            self.assertIn(
                "items has no column 'deleted_at' or 'is_deleted'; it has order_id, product, code",
                self.misuse(assertion, Item),
            )
            self.assertIn(
                "did you mean 'deleted_at'?", self.misuse(assertion, Account, column="delete_at")
            )
            for column in ("name", "profile", "orders", "id"):
                self.assertEqual(
                    self.misuse(assertion, Account, column=column),
                    f"{column} of accounts is neither a boolean nor a time that may be NULL, so "
                    "that it marks no row as deleted; did you mean 'deleted_at'?",
                )
            self.assertIn("is neither", self.misuse(assertion, "items", column="product"))
            self.assertIn(
                "this Account has no primary key", self.misuse(assertion, Account(email="x"))
            )


class SyncModels(Models, Sync):
    pass


class AsyncModels(Models, Async):
    pass
