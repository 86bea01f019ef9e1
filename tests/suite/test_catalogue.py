"""What holds for every assertion: it can pass and fail, and it leaves alone what is pending."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from dbtestcase.assertions import DatabaseAssertions
from dbtestcase.assertions.pending import AsyncBlock, Block

from .behaviour import ISOLATIONS, Async, Sync
from .shop import Account, Item, Order, Shop, log

#: The arguments of an assertion, and what a block that it is about does.
Call = tuple[tuple[Any, ...], Callable[[], object]]


def nothing() -> None: ...


class Catalogue(Shop):
    def read(self) -> None:
        with self.own_engine.connect() as connection:
            connection.execute(select(Account.id)).all()

    def read_twice(self) -> None:
        self.read()
        self.read()

    def load(self) -> None:
        with Session(self.own_engine) as session:
            _ = session.scalars(select(Order)).one().items

    def violate(self) -> None:
        self.sql(insert(Account).values(email="alice@example.org", balance=0))

    def catalogue(self) -> dict[str, tuple[Call | None, Call | None, str]]:
        """Return by name how each is called where it passes and where it fails, and what it says.

        None stands for what another test does: where nothing is pending, or the schema is another.
        """
        order = self.own_session.scalars(select(Order)).one()
        somebody, nobody = Account.name == "alice", Account.name == "nobody"
        gone = Account(id=77)
        by_email = select(Account).where(Account.email == "alice@example.org")
        by_balance = select(Account.id).where(Account.balance > 10)
        return {
            "assertCommitted": (
                None,
                ((), nothing),
                "Not everything is committed:\n  a session has unflushed changes (Account)",
            ),
            "assertConstraintViolated": (
                (("uq_accounts_email",), self.violate),
                (("uq_accounts_email",), nothing),
                "No constraint was violated, expected uq_accounts_email",
            ),
            "assertDatabaseChanges": (
                (({},), nothing),
                (({log: 1},), nothing),
                "The database did not change as expected:\n  log: no change, expected 1 inserted",
            ),
            "assertDatabaseCount": (
                ((Account, 2), nothing),
                ((Account, 5), nothing),
                "2 rows in accounts, expected 5:\n    id=1001, email='alice@example.org'",
            ),
            "assertDatabaseEmpty": (
                ((log,), nothing),
                ((Order,), nothing),
                "The database is not empty:\n  orders: 1 row\n    id=2001, number='A1'",
            ),
            "assertDatabaseHas": (
                ((Account, somebody), nothing),
                ((Account, nobody), nothing),
                "No row with accounts.name = 'nobody' in accounts, which has 2 rows; the nearest:",
            ),
            "assertDatabaseMissing": (
                ((Account, nobody), nothing),
                ((Account, somebody), nothing),
                "1 row with accounts.name = 'alice' in accounts, expected none:\n    id=1001",
            ),
            "assertIndexUsed": (
                (("uq_accounts_email", by_email), nothing),
                (("ix_accounts_name", by_balance), nothing),
                "ix_accounts_name is not used; the plan:",
            ),
            "assertLoaded": (
                ((order, "number"), nothing),
                ((order, "items"), nothing),
                "Order 2001 has not loaded items, only id, number",
            ),
            "assertMaxQueries": (
                ((1,), self.read),
                ((0,), self.read),
                "1 query executed, at most 0 expected:\n  1. SELECT accounts.id FROM accounts",
            ),
            "assertModelExists": (
                ((self.alice,), nothing),
                ((gone,), nothing),
                "Account with id = 77 is not in accounts, which has 2 rows",
            ),
            "assertModelMissing": (
                ((gone,), nothing),
                ((self.alice,), nothing),
                "Account with id = 1001 is still in accounts:\n    id=1001",
            ),
            "assertNoLazyLoads": (
                ((), self.read),
                ((), self.load),
                "Lazy load of items of Order 2001\n  at ",
            ),
            "assertNoQueries": (
                ((), nothing),
                ((), self.read),
                "1 query executed, none expected:\n  1. SELECT accounts.id FROM accounts",
            ),
            "assertNoRepeatedQueries": (
                ((), self.read),
                ((), self.read_twice),
                "2 queries executed, 1 of them repeatedly:\n  1. SELECT accounts.id FROM accounts",
            ),
            "assertNotLoaded": (
                ((order, "items"), nothing),
                ((order, "number"), nothing),
                "Order 2001 has loaded number",
            ),
            "assertNotSoftDeleted": (
                ((self.alice,), nothing),
                ((self.bob,), nothing),
                f"1 row with id = {self.bob.id} in accounts, but soft-deleted, by deleted_at:",
            ),
            "assertNumQueries": (
                ((1,), self.read),
                ((2,), self.read),
                "1 query executed, 2 expected:\n  1. SELECT accounts.id FROM accounts",
            ),
            "assertQueriesMatch": (
                (("from accounts",), self.read),
                (("from log",), self.read),
                "1 query executed, expected to match 1 pattern:\n  1. SELECT accounts.id",
            ),
            "assertSchemaMatchesModels": (None, None, ""),
            "assertSoftDeleted": (
                ((self.bob,), nothing),
                ((self.alice,), nothing),
                "1 row with id = 1001 in accounts, but not soft-deleted, by deleted_at:",
            ),
        }

    def call(self, name: str, call: Call) -> None:
        arguments, act = call
        made = getattr(self, name)(*arguments)
        if isinstance(made, (Block, AsyncBlock)):
            with self.block(made):
                act()
        else:
            self.check(made)

    def test_each_passes_and_fails_and_leaves_alone_what_is_pending(self) -> None:
        session = self.own_session
        session.expire_on_commit = False
        self.check(self.assertCommitted())
        new = Account(email="carl@example.org")
        catalogue = self.catalogue()
        flushes = catalogue.pop("assertConstraintViolated")
        session.add(new)
        self.alice.name = "changed"
        session.delete(self.bob)
        for name, (passes, fails, says) in catalogue.items():
            with self.subTest(name):
                if passes is not None:
                    self.call(name, passes)
                if fails is not None:
                    with self.assertRaises(AssertionError) as raised:
                        self.call(name, fails)
                    self.assertTrue(str(raised.exception).startswith(says), str(raised.exception))
                self.assertEqual(list(session.new), [new])
                self.assertEqual(list(session.deleted), [self.bob])
                self.assertTrue(session.is_modified(self.alice))
        passes, fails, says = flushes
        session.expunge(new)
        session.expire(self.alice)
        session.rollback()
        assert passes is not None and fails is not None  # noqa: PT018
        self.call("assertConstraintViolated", passes)
        with self.assertRaisesRegex(AssertionError, says):
            self.call("assertConstraintViolated", fails)

    def test_an_assertion_that_flushes_does_not_commit(self) -> None:
        self.own_session.add(Account(email="carl@example.org"))
        with self.block(self.assertConstraintViolated("ck_accounts_balance")):
            self.own_session.execute(update(Account).values(balance=-1))
        self.assertEqual(len(self.own_session.new), 0)
        self.own_session.rollback()
        self.check(self.assertDatabaseCount(Account, 2))

    def test_what_is_stale_in_a_session_is_not_asked(self) -> None:
        session = self.own_session
        session.expire_on_commit = False
        order = session.scalars(select(Order)).one()
        pen = session.get_one(Item, (2001, "pen"))
        self.assertEqual(self.alice.name, "alice")
        session.commit()
        with self.block(self.assertDatabaseChanges({Item: -2})):
            self.sql(delete(Item))
        self.sql(update(Account).where(Account.id == 1001).values(name="anna"))
        self.sql(update(Order).values(is_deleted=True))
        self.check(self.assertDatabaseHas(Account, name="anna"))
        self.check(self.assertDatabaseMissing(Account, name="alice"))
        self.check(self.assertDatabaseCount(Order, 1, is_deleted=True))
        self.check(self.assertDatabaseEmpty(Item))
        self.check(self.assertModelMissing(pen))
        self.check(self.assertSoftDeleted(order))
        self.failure(self.assertDatabaseHas, Account, name="alice")
        self.failure(self.assertModelExists, pen)
        self.failure(self.assertNotSoftDeleted, order)
        self.assertEqual((self.alice.name, order.is_deleted), ("alice", False))
        self.assertIn(pen, session)


class SyncCatalogue(Catalogue, Sync):
    def test_no_assertion_is_left_out(self) -> None:
        named = {name for name in dir(DatabaseAssertions) if name.startswith("assert")}
        self.assertEqual({*self.catalogue()}, named - {*dir(unittest.TestCase)})


class AsyncCatalogue(Catalogue, Async):
    pass


if "truncation" in ISOLATIONS:

    class SyncCatalogueUnderTruncation(Catalogue, Sync):
        isolation = "truncation"
