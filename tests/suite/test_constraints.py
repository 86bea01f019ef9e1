"""Violated constraints: where it passes, where it fails, and what a person reads then."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .behaviour import BACKEND, ISOLATIONS, Async, Sync
from .shop import Account, Item, Order, Shop


class Constraints(Shop):
    def violates(self, name: str, statement: Any) -> None:
        with self.block(self.assertConstraintViolated(name)):
            self.sql(statement)

    def test_unique(self) -> None:
        again = insert(Account).values(email="alice@example.org", balance=0)
        self.violates("uq_accounts_email", again)
        self.violates("accounts.email", again)
        self.violates("ix_orders_number", insert(Order).values(number="A1", is_deleted=False))
        self.sql(update(Item).where(Item.product == "pen").values(code="P"))
        self.violates("items.code", update(Item).values(code="P"))
        self.violates(
            "items.order_id, items.product", insert(Item).values(order_id=2001, product="pen")
        )
        self.violates("pk_accounts", insert(Account).values(id=1001, email="new", balance=0))

    def test_foreign_key(self) -> None:
        orphan = insert(Order).values(number="A2", is_deleted=False, account_id=1)
        self.violates("fk_orders_account", orphan)
        self.violates("orders.account_id", orphan)
        self.violates("fk_orders_account", update(Order).values(account_id=1))
        self.violates("fk_orders_account", delete(Account))
        self.violates("items.order_id", insert(Item).values(order_id=1, product="pen"))

    def test_foreign_key_where_double_quotes_are_for_names(self) -> None:
        if BACKEND.dialect.name not in {"mysql", "mariadb"}:
            return
        self.sql(text("SET SESSION sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')"))
        orphan = insert(Order).values(number="A2", is_deleted=False, account_id=1)
        self.violates("fk_orders_account", orphan)
        self.violates("orders.account_id", orphan)

    def test_foreign_key_that_restricts_deletion(self) -> None:
        self.violates("items.order_id", delete(Order))

    def test_deferred_foreign_key(self) -> None:
        if not BACKEND.features.deferrable_constraints:
            return
        self.sql(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        self.sql(
            text(
                "CREATE TABLE children (parent INTEGER, CONSTRAINT fk_parent FOREIGN KEY (parent)"
                " REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
        self.violates("fk_parent", text("INSERT INTO children VALUES (1)"))
        with self.block(self.assertConstraintViolated("fk_parent")):
            self.own_session.execute(text("INSERT INTO children VALUES (1)"))
            self.own_session.commit()
        connection = self.own_connection
        connection.execute(text("INSERT INTO children VALUES (1)"))
        orphan = insert(Order).values(number="A2", is_deleted=False, account_id=1)
        lines = self.block_failure(
            self.assertConstraintViolated("fk_parent"), lambda: connection.execute(orphan)
        ).splitlines()
        self.assertEqual(lines[1], "  fk_orders_account, also called orders.account_id")
        connection.rollback()
        self.check(self.assertDatabaseEmpty("children"))
        self.check(self.assertDatabaseCount(Account, 2))

    def test_exclusion(self) -> None:
        if "schema" not in ISOLATIONS:  # as on PostgreSQL, which alone has them
            return
        self.sql(
            text(
                "CREATE TABLE stays (days INT4RANGE, "
                "CONSTRAINT ex_stays EXCLUDE USING gist (days WITH &&))"
            )
        )
        self.sql(text("INSERT INTO stays VALUES ('[1,5)')"))
        overlapping = text("INSERT INTO stays VALUES ('[4,6)')")
        self.violates("ex_stays", overlapping)
        self.assertEqual(
            self.block_failure(self.assertConstraintViolated("ex_stays")),
            "No constraint was violated, expected ex_stays",
        )
        text_ = self.block_failure(
            self.assertConstraintViolated("uq_accounts_email"), lambda: self.sql(overlapping)
        )
        self.assertEqual(text_.splitlines()[1], "  ex_stays")

    def test_error_of_the_driver(self) -> None:
        connection = self.own_engine.raw_connection()
        with self.block(self.assertConstraintViolated("uq_accounts_email")):
            connection.cursor().execute(
                "INSERT INTO accounts (email, balance) VALUES ('bob@example.org', 0)"
            )
        connection.close()

    def test_check_and_not_null(self) -> None:
        self.violates("ck_accounts_balance", update(Account).values(balance=-1))
        self.violates("accounts.email", update(Account).values(email=None))
        self.violates("accounts.email", insert(Account).values(balance=1))

    def test_foreign_key_in_many_rows(self) -> None:
        rows = [{"number": f"B{id}", "account_id": id, "is_deleted": False} for id in (1001, 7)]
        with self.block(self.assertConstraintViolated("fk_orders_account")):
            self.sql(insert(Order), rows)

    def test_session_goes_on(self) -> None:
        self.own_session.add(Account(email="carl@example.org", name="carl"))
        self.own_session.flush()
        for _ in range(2):
            with self.block(self.assertConstraintViolated("uq_accounts_email")):
                self.own_session.add(Account(email=self.alice.email))
                self.own_session.flush()
        self.assertEqual(len(self.own_session.new), 0)
        self.own_session.commit()
        self.check(self.assertDatabaseHas(Account, name="carl"))
        self.check(self.assertDatabaseCount(Account, 3))

    def test_session_keeps_its_objects(self) -> None:
        self.assertEqual(self.alice.name, "alice")
        self.own_session.expire_on_commit = False
        self.own_session.commit()
        self.own_session.expire_on_commit = True
        with self.block(self.assertConstraintViolated("uq_accounts_email")):
            self.own_session.add(Account(email="alice@example.org"))
            self.own_session.flush()
        self.assertFalse(self.own_session.in_transaction())
        self.assertTrue(self.own_session.expire_on_commit)
        self.check(self.assertLoaded(self.alice, "name"))

    def test_name_by_columns_of_what_has_a_name(self) -> None:
        self.assertEqual(
            self.block_failure(self.assertConstraintViolated("orders.account_id")),
            "No constraint was violated, expected orders.account_id",
        )

    def test_session_goes_on_after_a_commit_that_failed(self) -> None:
        with self.block(self.assertConstraintViolated("uq_accounts_email")):
            self.own_session.add(Account(email="alice@example.org"))
            self.own_session.commit()
        self.own_session.add(Account(email="carl@example.org"))
        self.own_session.commit()
        self.check(self.assertDatabaseCount(Account, 3))

    def test_session_that_rolls_back_itself_goes_on(self) -> None:
        with self.block(self.assertConstraintViolated("uq_accounts_email")):
            try:
                self.own_session.add(Account(email="alice@example.org"))
                self.own_session.flush()
            finally:
                self.own_session.rollback()
        self.own_session.add(Account(email="carl@example.org"))
        self.own_session.commit()
        self.check(self.assertDatabaseCount(Account, 3))

    def test_connection_goes_on(self) -> None:
        connection = self.own_connection
        connection.execute(insert(Account).values(email="carl@example.org", balance=0))
        with self.block(self.assertConstraintViolated("uq_accounts_email")):
            connection.execute(insert(Account).values(email="carl@example.org", balance=0))
        connection.commit()
        with self.block(self.assertConstraintViolated("uq_accounts_email")):
            connection.execute(insert(Account).values(email="carl@example.org", balance=0))
        self.check(self.assertDatabaseCount(Account, 3))

    def test_application_goes_on(self) -> None:
        self.own_session.scalars(select(Account)).all()
        with Session(self.app_engine) as session:
            with self.block(self.assertConstraintViolated("uq_accounts_email")):
                session.add(Account(email="alice@example.org"))
                session.commit()
            session.rollback()
            session.add(Account(email="carl@example.org"))
            session.commit()
        self.check(self.assertDatabaseCount(Account, 3))

    def test_errors_that_the_block_handles_do_not_count(self) -> None:
        def act() -> None:
            with Session(self.app_engine) as session:
                session.add(Account(email="alice@example.org"))
                with self.assertRaises(Exception):  # noqa: B017
                    session.flush()

        self.assertEqual(
            self.block_failure(self.assertConstraintViolated("uq_accounts_email"), act),
            "No constraint was violated, expected uq_accounts_email",
        )

    def test_fails_without_a_violation(self) -> None:
        text = self.block_failure(
            self.assertConstraintViolated("uq_accounts_email"),
            lambda: self.own_session.add(Account(email="alice@example.org")),
        )
        self.says(
            text,
            "No constraint was violated, expected uq_accounts_email",
            "  self.session has unflushed changes (Account): flush or commit it first",
        )

    def test_fails_for_another_constraint(self) -> None:
        lines = self.block_failure(
            self.assertConstraintViolated("uq_accounts_email"),
            lambda: self.sql(update(Account).values(balance=-1)),
        ).splitlines()
        self.assertEqual(lines[0], "Another constraint was violated, expected uq_accounts_email:")
        self.assertEqual(lines[1], "  ck_accounts_balance")
        self.assertIn("ck_accounts_balance", lines[2])
        lines = self.block_failure(
            self.assertConstraintViolated("ck_accounts_balance"),
            lambda: self.sql(update(Account).values(email=None)),
        ).splitlines()
        self.assertEqual(lines[1], "  accounts.email")
        lines = self.block_failure(
            self.assertConstraintViolated("items.order_id"),
            lambda: self.sql(delete(Account)),
        ).splitlines()
        self.assertEqual(lines[1], "  fk_orders_account, also called orders.account_id")

    def test_other_errors_pass_through(self) -> None:
        with (
            self.assertRaises(ZeroDivisionError),
            self.block(self.assertConstraintViolated("uq_accounts_email")),
        ):
            raise ZeroDivisionError

    def test_error_that_is_raised_from_a_violation_passes_through_and_says_so(self) -> None:
        def act() -> None:
            try:
                self.sql(insert(Account).values(email="alice@example.org", balance=0))
            except IntegrityError as error:
                raise LookupError("is taken") from error

        def act_without_from() -> None:
            try:
                act()
            except LookupError:
                raise KeyError("as well")  # noqa: B904

        for function, kind in ((act, LookupError), (act_without_from, KeyError)):
            with (
                self.assertRaises(kind) as raised,
                self.block(self.assertConstraintViolated("uq_accounts_email")),
            ):
                function()
            [note] = raised.exception.__notes__
            self.says(
                note,
                "uq_accounts_email was violated, but the block did not end with that error: it "
                f"ended with the {kind.__name__} above.",
                f"  To fix this, either: expect that, with self.assertRaises({kind.__name__}); or "
                "let the block call what raises the database's error.",
            )

    def test_wrong_use(self) -> None:
        message = "there is no constraint 'uq_acounts_email'; did you mean 'uq_accounts_email'?"
        self.assertEqual(self.misuse(self.assertConstraintViolated, "uq_acounts_email"), message)
        message = " is no name of a constraint; write for example "
        for one in (Account.email, Account, None, next(iter(Account.__table__.constraints))):
            self.assertIn(message, self.misuse(self.assertConstraintViolated, one))
        self.assertIn('"accounts.email"', self.misuse(self.assertConstraintViolated, Account.email))


_archive = MetaData(schema="archive")
files = Table(
    "files",
    _archive,
    Column("id", Integer, primary_key=True),
    Column("code", String(100), unique=True),
    Column("size", Integer),
)
shelves, archived = (
    Table(
        "shelves",
        _archive,
        Column("id", Integer, primary_key=True),
        Column("label", String(100), unique=True),
        schema=schema,
    )
    for schema in ("public", "archive")
)


class ConstraintsOfAnotherSchema(Shop):
    metadata = _archive

    @classmethod
    def setUpDatabase(cls, connection: Connection) -> None:
        connection.execute(text("CREATE SCHEMA archive"))
        super().setUpDatabase(connection)  # type: ignore[misc]
        connection.execute(
            text("ALTER TABLE archive.files ADD CONSTRAINT ck_size CHECK (size > 0)")
        )

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        session.execute(insert(files).values(id=1001, code="a", size=1))
        for table in (shelves, archived):
            session.execute(insert(table).values(label="a"))

    def test_violated_of_tables_with_the_same_name(self) -> None:
        here, there = (insert(table).values(label="a") for table in (shelves, archived))
        for statement, names in (
            (here, ("shelves.label", "public.shelves.label", "shelves_label_key")),
            (there, ("archive.shelves.label", "archive.shelves_label_key")),
        ):
            for name in names:
                with self.block(self.assertConstraintViolated(name)):
                    self.sql(statement)
        for statement, violated, others in (
            (here, "shelves_label_key, also called shelves.label", ("archive.shelves.label",)),
            (
                there,
                "archive.shelves_label_key, also called archive.shelves.label",
                ("shelves.label", "public.shelves.label", "shelves_label_key"),
            ),
        ):
            for name in others:
                block = self.assertConstraintViolated(name)
                lines = self.block_failure(block, lambda sql=statement: self.sql(sql)).splitlines()  # type: ignore[misc]
                self.assertEqual(
                    lines[:2],
                    [f"Another constraint was violated, expected {name}:", f"  {violated}"],
                )

    def test_violated(self) -> None:
        again = insert(files).values(code="a")
        for name, statement in (
            ("files.code", again),
            ("files_code_key", again),
            ("files.id", insert(files).values(id=1001)),
            ("ck_size", update(files).values(size=0)),
        ):
            with self.block(self.assertConstraintViolated(name)):
                self.sql(statement)

    def test_not_violated(self) -> None:
        for name in ("files.code", "files_code_key", "files_pkey", "ck_size"):
            self.assertEqual(
                self.block_failure(self.assertConstraintViolated(name)),
                f"No constraint was violated, expected {name}",
            )


class SyncConstraints(Constraints, Sync):
    pass


class AsyncConstraints(Constraints, Async):
    pass


if "truncation" in ISOLATIONS:

    class SyncConstraintsUnderTruncation(Constraints, Sync):
        isolation = "truncation"

    class AsyncConstraintsUnderTruncation(Constraints, Async):
        isolation = "truncation"


if "schema" in ISOLATIONS:

    class SyncConstraintsOfAnotherSchema(ConstraintsOfAnotherSchema, Sync):
        pass

    class AsyncConstraintsOfAnotherSchema(ConstraintsOfAnotherSchema, Async):
        pass
