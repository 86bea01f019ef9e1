"""Assertions about rows: where they pass, where they fail, and what a person reads then."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    delete,
    exists,
    func,
    insert,
    inspect,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from dbtestcase import match

from .behaviour import Async, Sync
from .shop import Account, Item, Order, Shop, log


class Rows(Shop):
    def test_has(self) -> None:
        self.check(self.assertDatabaseHas(Account))
        self.check(self.assertDatabaseHas(Account, name="alice", balance=30, deleted_at=None))
        self.check(self.assertDatabaseHas(Account.__table__, name="alice"))
        self.check(self.assertDatabaseHas("accounts", name="alice"))
        self.check(self.assertDatabaseHas(Account, Account.balance > 20, name="alice"))
        self.check(self.assertDatabaseHas(Order, account=self.alice))

    def test_has_fails(self) -> None:
        self.says(
            self.failure(self.assertDatabaseHas, Order, number="A2", account_id=self.alice.id),
            "No row with number = 'A2' and account_id = 1001 in orders, "
            "which has 1 row; the nearest:",
            "    id=2001, number='A1' (not 'A2'), account_id=1001, is_deleted=False",
        )
        text = self.failure(self.assertDatabaseHas, Account, Account.balance > 40, name="bob")
        self.assertIn("No row with accounts.balance > 40 and name = 'bob' in accounts", text)
        self.assertEqual(text.count(", not accounts.balance > 40"), 2)
        self.sql(delete(Item))
        self.says(
            self.failure(self.assertDatabaseHas, Item, product="pen"),
            "No row with product = 'pen' in items, which is empty",
        )

    def test_has_fails_and_shows_the_nearest_rows_first(self) -> None:
        numbers = [{"number": f"B{one}", "is_deleted": one == 15} for one in range(20)]
        self.sql(insert(Order).values(numbers))
        text = self.failure(self.assertDatabaseHas, Order, number="C", is_deleted=True)
        lines = text.splitlines()
        self.assertIn("which has 21 rows; the nearest:", lines[0])
        self.assertIn("number='B15' (not 'C'), account_id=None, is_deleted=True", lines[1])
        self.assertIn("is_deleted=False (not True)", lines[2])
        self.assertEqual(len(lines), 6)

    def test_has_fails_and_finds_the_nearest_of_many_rows(self) -> None:
        numbers = [{"number": f"B{one}", "is_deleted": False} for one in range(300)]
        self.sql(insert(Order).values(numbers))
        self.sql(insert(Order).values(id=5000, number="Z", is_deleted=True))
        text = self.failure(self.assertDatabaseHas, Order, number="C", is_deleted=True)
        self.assertIn("id=5000, number='Z' (not 'C')", text.splitlines()[1])

    def test_has_document(self) -> None:
        self.check(self.assertDatabaseHas(Account, profile=match({"address": {"city": "Paris"}})))
        self.check(self.assertDatabaseHas(Account, profile=match({"tags": ["a", "b"]})))
        self.check(self.assertDatabaseHas(Account, profile=self.alice.profile, name="alice"))
        self.check(self.assertDatabaseHas("accounts", profile=match({"tags": ["a", "b"]})))
        self.check(self.assertDatabaseHas(Account, profile=None, name="bob"))
        self.check(self.assertDatabaseMissing(Account, profile=match({"address": {"zip": 75001}})))
        self.check(self.assertDatabaseCount(Account, 1, profile=match({})))

    def test_has_document_fails(self) -> None:
        profile = match({"address": {"city": "Rome"}})
        text = self.failure(self.assertDatabaseHas, Account, profile=profile, name="alice")
        self.assertIn(
            "No row with profile = match({'address': {'city': 'Rome'}}) and name = 'alice'", text
        )
        self.assertIn("(address.city is 'Paris', not 'Rome')", text.splitlines()[1])
        self.assertIn("profile=None (not match({'address'", text.splitlines()[2])
        for wanted, difference in [
            (match({"tags": ["a"]}), "(tags has 2 items, not 1)"),
            (match({"tags": ["a", "c"]}), "(tags[1] is 'b', not 'c')"),
            (match({"size": 1}), "(size is missing)"),
            (match({"is_open": 1}), "(is_open is True, not 1)"),
            ({"tags": ["a", "b"]}, "(address is not expected)"),
        ]:
            self.assertIn(difference, self.failure(self.assertDatabaseHas, Account, profile=wanted))

    def test_missing(self) -> None:
        self.check(self.assertDatabaseMissing(Account, name="carl"))
        self.check(self.assertDatabaseMissing("log"))

    def test_missing_fails(self) -> None:
        self.says(
            self.failure(self.assertDatabaseMissing, Order, number="A1"),
            "1 row with number = 'A1' in orders, expected none:",
            "    id=2001, number='A1', account_id=1001, is_deleted=False",
        )

    def test_count(self) -> None:
        self.check(self.assertDatabaseCount(Account, 2))
        self.check(self.assertDatabaseCount("accounts", 1, balance=30))
        self.check(self.assertDatabaseCount(Account, 0, Account.balance > 40))

    def test_count_fails(self) -> None:
        self.says(
            self.failure(self.assertDatabaseCount, Item, 2, product="pen"),
            "1 row with product = 'pen' in items, expected 2:",
            "    order_id=2001, product='pen', code=None; the nearest others:",
            "    order_id=2001, product='ink' (not 'pen'), code=None",
        )
        self.says(
            self.failure(self.assertDatabaseCount, Item, 1),
            "2 rows in items, expected 1:",
            "    order_id=2001, product='ink', code=None",
            "    order_id=2001, product='pen', code=None",
        )

    def test_empty(self) -> None:
        self.check(self.assertDatabaseEmpty(log))
        self.check(self.assertDatabaseEmpty(exclude=[Account, "orders", Item]))

    def test_empty_fails(self) -> None:
        self.says(
            self.failure(self.assertDatabaseEmpty, exclude=[Account, Order]),
            "The database is not empty:",
            "  items: 2 rows",
            "    order_id=2001, product='ink', code=None",
            "    order_id=2001, product='pen', code=None",
        )

    def test_pending_work_is_left_alone_and_told_of(self) -> None:
        self.own_session.add(Account(email="carl@example.org", name="carl"))
        text = self.failure(self.assertDatabaseHas, Account, name="carl")
        self.assertIn("self.session has unflushed changes (Account)", text.splitlines()[-1])
        self.assertEqual(len(self.own_session.new), 1)

    def test_has_related_object_that_is_expired(self) -> None:
        self.own_session.add(Account(email="carl@example.org"))
        alice = self.own_session.merge(self.alice)
        self.own_session.commit()
        self.own_session.expire(alice)
        dora = Account(email="dora@example.org")
        self.own_session.add(dora)
        self.assertIn("name", self.expired(alice))
        self.check(self.assertDatabaseHas(Order, account=alice))
        self.assertIn(
            "1 row with account = <Account 1001> in orders, expected none",
            self.failure(self.assertDatabaseMissing, Order, account=alice),
        )
        self.assertIn("name", self.expired(alice))
        self.assertIn(dora, self.own_session.new)

    def test_condition_about_an_object_that_is_expired(self) -> None:
        alice = self.own_session.merge(self.alice)
        self.own_session.commit()
        self.own_session.expire(alice)
        dora = Account(email="dora@example.org")
        self.own_session.add(dora)
        self.check(self.assertDatabaseHas(Order, Order.account == alice))
        self.failure(self.assertDatabaseMissing, Order, Order.account == alice)
        self.assertIn(dora, self.own_session.new)
        self.assertTrue(self.own_session.autoflush)

    def test_conditions_in_which_other_tables_are_asked_for(self) -> None:
        pens = select(Item.order_id).where(Item.product == "pen")
        other = aliased(Order)
        for condition in (
            Order.items.any(Item.product == "pen"),
            Order.account.has(Account.name == "alice"),
            Order.id.in_(pens),
            pens.where(Item.order_id == Order.id).exists(),
            exists().where(Item.order_id == Order.id),
            Order.id == select(func.max(other.id)).scalar_subquery(),
        ):
            self.check(self.assertDatabaseCount(Order, 1, condition))
            self.check(self.assertDatabaseCount(Order.__table__, 1, condition))
            self.check(self.assertDatabaseCount("orders", 1, condition))

    def test_conditions_about_another_table(self) -> None:
        for condition, other in (
            (Item.product == "pen", "items"),
            (Item.order_id == Order.id, "items"),
            (or_(Order.number == "A1", Account.name == "bob"), "accounts"),
            (aliased(Order, name="other").number == "A1", "other"),
        ):
            text = self.misuse(self.assertDatabaseHas, Order, condition)
            self.assertIn(
                f" is about {other} too, and the assertion only about rows of orders\n"
                "  To fix this, either: ",
                text,
            )
            self.assertEqual(self.misuse(self.assertDatabaseCount, Order, 2, condition), text)
            self.assertEqual(self.misuse(self.assertDatabaseMissing, "orders", condition), text)

    def test_conditions_about_a_table_of_the_same_name(self) -> None:
        accounts = Table("accounts", MetaData(), Column("name"))
        self.assertIn(
            "To fix this, give the assertion the Table or mapped class that the condition has",
            self.misuse(self.assertDatabaseHas, Account, accounts.c.name == "bob"),
        )

    def test_conditions_are_shown_as_they_are_asked(self) -> None:
        either = or_(Account.balance > 40, Account.name == "carl")
        text = self.failure(self.assertDatabaseHas, Account, either, name="bob")
        condition = "(accounts.balance > 40 OR accounts.name = 'carl')"
        self.assertIn(f"No row with {condition} and name = 'bob' in accounts", text)
        self.assertIn(f"not {condition}", text)
        text = self.failure(self.assertDatabaseHas, Order, Order.items.any(Item.product == "x"))
        self.assertIn(
            "No row with EXISTS (SELECT 1 FROM items "
            "WHERE orders.id = items.order_id AND items.product = 'x') in orders,",
            text,
        )

    def expired(self, instance: Account) -> set[str]:
        return set(inspect(instance).expired_attributes)

    def test_has_related_object_whose_row_is_gone(self) -> None:
        with Session(self.own_engine) as session:
            carl = Account(id=1003, email="carl@example.org")
            session.add(carl)
            session.commit()
            self.sql(delete(Account).where(Account.id == 1003))
            self.assertIn(
                "No row with account = <Account 1003> in orders, which has 1 row; the nearest:",
                self.failure(self.assertDatabaseHas, Order, account=carl),
            )

    def test_has_related_object_by_a_key_that_was_set(self) -> None:
        self.check(self.assertDatabaseHas(Order, account=Account(id=1001)))
        self.check(self.assertDatabaseMissing(Order, account=Account(id=1002)))

    def test_long_conditions_are_cut(self) -> None:
        condition = Account.id.in_(range(1000))
        text = self.failure(self.assertDatabaseHas, Account, condition)
        self.assertRegex(text, r"No row with accounts\.id IN \([0-9, ]+… in accounts, which has 2")
        self.assertLess(len(text), 1500)
        self.check(self.assertDatabaseMissing(Account, condition))

    def test_long_things_are_cut(self) -> None:
        self.sql(insert(log), [{"line": f"{number:03}" * 30} for number in range(20)])
        lines = self.failure(self.assertDatabaseEmpty, log).splitlines()
        self.assertEqual(len(lines), 13)
        self.assertTrue(lines[3].endswith("0…"), lines[3])
        self.assertEqual(lines[-1], "    … and 10 more rows")

    def test_wrong_use(self) -> None:
        for message, target, values in [
            ("accounts has no column 'nmae'; did you mean 'name'?", Account, {"nmae": "x"}),
            ("accounts has no column 'nmae'; did you mean 'name'?", "accounts", {"nmae": "x"}),
            ("there is no table 'account'; did you mean 'accounts'?", "account", {}),
            ("is neither a mapped class, nor a Table, nor the name of a table", int, {}),
            ("orders is no column, so that match() cannot", Account, {"orders": match([])}),
        ]:
            self.assertIn(message, self.misuse(self.assertDatabaseHas, target, **values))
            self.assertIn(message, self.misuse(self.assertDatabaseMissing, target, **values))
            self.assertIn(message, self.misuse(self.assertDatabaseCount, target, 1, **values))
        for message, account in [
            ("account = this Account, which has no primary key; flush it first", Account()),
            ("account is a Account, and Order 2 is none", Order(id=2)),
        ]:
            self.assertEqual(self.misuse(self.assertDatabaseHas, Order, account=account), message)
        message = "there is no table 'account'; did you mean 'accounts'?"
        self.assertEqual(self.misuse(self.assertDatabaseEmpty, "account"), message)
        self.assertEqual(self.misuse(self.assertDatabaseEmpty, exclude=["account"]), message)
        self.assertIn(
            "5 is neither a mapped class, nor a Table, nor",
            self.misuse(self.assertDatabaseEmpty, exclude=[5, Account, Order, Item]),
        )

    def test_counts_that_are_none(self) -> None:
        for count in ("2", None, -1, True, 2.0):
            self.assertEqual(
                self.misuse(self.assertDatabaseCount, Account, count),
                f"{count!r} is no number of rows; write for example 2",
            )

    def test_one_table_to_exclude(self) -> None:
        self.sql(delete(Item))
        self.sql(delete(Order))
        for one in ("accounts", Account, Account.__table__):
            self.check(self.assertDatabaseEmpty(exclude=one))
        self.assertEqual(
            self.misuse(self.assertDatabaseEmpty, exclude="acounts"),
            "there is no table 'acounts'; did you mean 'accounts'?",
        )
        self.assertIn(
            "None is neither a mapped class", self.misuse(self.assertDatabaseEmpty, exclude=None)
        )

    def test_tables_that_are_not_there(self) -> None:
        missing = Table("account", MetaData(), Column("id", Integer))
        message = "there is no table 'account' in the database; did you mean 'accounts'?"
        self.assertIn(message, self.misuse(self.assertDatabaseHas, missing))
        self.assertIn(message, self.misuse(self.assertDatabaseEmpty, missing))
        self.assertIn(message, self.misuse(self.assertDatabaseEmpty, exclude=[missing]))
        self.assertIn(message, self.misuse(self.assertDatabaseChanges, {missing: 1}))


class SyncRows(Rows, Sync):
    pass


class AsyncRows(Rows, Async):
    pass
