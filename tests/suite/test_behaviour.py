"""The behavioural suite, for each isolation and colour."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import TestCase

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dbtestcase import (
    DatabaseTestCase,
    InterleavedTransactionsError,
    TransactionEndedError,
)

from .. import inner
from ..models import Post, User
from .behaviour import BACKEND, ISOLATIONS, Async, Behaviour, Sync


class EveryIsolation(Behaviour):
    """Each test finds the class data and nothing else, whatever the others did."""

    def test_finds_class_data_only(self) -> None:
        self.assertEqual(self.names(), ["alice"])
        self.assertEqual(self.posts(), 2)

    def test_finds_class_data_only_again(self) -> None:
        self.assertEqual(self.names(), ["alice"])
        self.assertEqual(self.posts(), 2)

    def test_committed_session_is_seen_by_others(self) -> None:
        self.own_session.add(User(name="bob"))
        self.own_session.commit()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_rolled_back_session_leaves_nothing(self) -> None:
        self.own_session.add(User(name="bob"))
        self.own_session.flush()
        self.own_session.rollback()
        self.assertEqual(self.names(), ["alice"])

    def test_commit_then_rollback_keeps_what_was_committed(self) -> None:
        self.own_session.add(User(name="bob"))
        self.own_session.commit()
        self.own_session.add(User(name="carl"))
        self.own_session.flush()
        self.own_session.rollback()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_application_commits(self) -> None:
        self.register("bob")
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_application_forgets_to_commit(self) -> None:
        with Session(self.app_engine) as session:
            session.add(User(name="bob"))
            session.flush()
        self.assertEqual(self.names(), ["alice"])

    def test_application_rolls_back_and_goes_on(self) -> None:
        with Session(self.app_engine) as session:
            session.add(User(name="alice"))
            with self.assertRaises(IntegrityError):
                session.commit()
            session.rollback()
            session.add(User(name="bob"))
            session.commit()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_error_in_one_connection_does_not_poison_another(self) -> None:
        with Session(self.app_engine) as session:
            session.add(User(name="alice"))
            with self.assertRaises(IntegrityError):
                session.flush()
            self.assertEqual(self.names(), ["alice"])
        self.register("bob")
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_reading_holds_nothing_open(self) -> None:
        self.assertEqual(len(self.own_session.scalars(select(User)).all()), 1)
        self.register("bob")
        self.own_session.rollback()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_engine_begin_commits(self) -> None:
        with self.own_engine.begin() as connection:
            connection.execute(insert(User).values(name="bob"))
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_engine_begin_rolls_back_on_error(self) -> None:
        with self.assertRaises(ZeroDivisionError), self.own_engine.begin() as connection:
            connection.execute(insert(User).values(name="bob"))
            raise ZeroDivisionError
        self.assertEqual(self.names(), ["alice"])

    def test_connection_closed_without_commit_leaves_nothing(self) -> None:
        with self.own_engine.connect() as connection:
            connection.execute(insert(User).values(name="bob"))
        self.assertEqual(self.names(), ["alice"])

    def test_raw_connection(self) -> None:
        for name, commits in [("bob", True), ("carl", False)]:
            connection = self.own_engine.raw_connection()
            cursor = connection.cursor()
            cursor.execute(f"INSERT INTO users (name) VALUES ('{name}')")  # noqa: S608
            cursor.close()
            if commits:
                connection.commit()
            connection.close()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_savepoints_of_a_session(self) -> None:
        with self.own_session.begin_nested():
            self.own_session.add(User(name="bob"))
        with self.assertRaises(ZeroDivisionError), self.own_session.begin_nested():
            self.own_session.add(User(name="carl"))
            self.own_session.flush()
            raise ZeroDivisionError
        self.own_session.commit()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_savepoints_in_sql(self) -> None:
        with self.own_engine.begin() as connection:
            connection.execute(text("SAVEPOINT mine"))
            connection.execute(insert(User).values(name="bob"))
            connection.execute(text("ROLLBACK TO SAVEPOINT mine"))
            connection.execute(insert(User).values(name="carl"))
            connection.execute(text("RELEASE SAVEPOINT mine"))
        self.assertEqual(self.names(), ["alice", "carl"])

    def test_autocommit(self) -> None:
        engine = self.own_engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(insert(User).values(name="bob"))
            connection.rollback()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_autocommit_ends_with_its_connection(self) -> None:
        with self.own_engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(insert(User).values(name="bob"))
        with self.own_engine.connect() as connection:
            connection.execute(insert(User).values(name="carl"))
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_executemany_update_delete(self) -> None:
        with self.own_engine.begin() as connection:
            connection.execute(insert(User), [{"name": "bob"}, {"name": "carl"}])
            connection.execute(update(User).where(User.name == "bob").values(name="dora"))
            connection.execute(delete(User).where(User.name == "carl"))
        self.assertEqual(self.names(), ["alice", "dora"])

    def test_foreign_keys_are_enforced(self) -> None:
        self.own_session.add(Post(title="orphan", author_id=1000))
        with self.assertRaises(IntegrityError):
            self.own_session.flush()

    def test_results_are_streamed_while_another_connection_commits(self) -> None:
        self.own_session.add_all(User(name=f"user{number}") for number in range(20))
        self.own_session.commit()
        query = select(User.name).where(User.name != "alice").execution_options(yield_per=5)
        for number, name in enumerate(self.own_session.scalars(query)):
            self.register(f"{name}-{number}")
        self.assertEqual(len(self.names()), 41)

    def test_deferred_constraints_are_checked_at_commit(self) -> None:
        if not BACKEND.features.deferrable_constraints:
            with self.own_engine.connect() as connection, self.assertRaises(IntegrityError):
                connection.execute(insert(Post).values(title="orphan", author_id=1000))
            return
        with self.own_engine.begin() as connection:
            connection.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
            connection.execute(
                text(
                    "CREATE TABLE children (parent INTEGER"
                    " REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)"
                )
            )
        with self.own_engine.connect() as connection:
            connection.execute(text("INSERT INTO children VALUES (1)"))
            with self.assertRaises(IntegrityError):
                connection.commit()
            connection.invalidate()  # SQLite leaves the transaction open, and SQLAlchemy too
        with self.own_engine.connect() as connection:
            connection.execute(text("INSERT INTO children VALUES (2)"))
            connection.execute(text("INSERT INTO parents VALUES (2)"))
            connection.commit()
            self.assertEqual(connection.scalar(text("SELECT parent FROM children")), 2)

    def refuses_ddl(self) -> bool:
        """Where DDL commits, check that it is refused in a transaction that stands for all."""
        if BACKEND.features.transactional_ddl or self.isolation != "transaction":
            return False
        with self.own_engine.connect() as connection:
            with self.assertRaises(TransactionEndedError) as raised:
                connection.execute(text("CREATE TABLE extra (id INTEGER)"))
            self.assertNotIn("extra", self.tables())
        for part in (self.id(), "CREATE TABLE extra", __file__, '@dbtestcase.isolation("trunc'):
            self.assertIn(part, str(raised.exception))
        self.register("bob")
        self.assertEqual(self.names(), ["alice", "bob"])
        return True

    def test_ddl(self) -> None:
        if self.refuses_ddl():
            return
        with self.own_engine.begin() as connection:
            connection.execute(text("CREATE TABLE extra (id INTEGER)"))
            connection.execute(text("INSERT INTO extra VALUES (1)"))
        self.assertIn("extra", self.tables())

    def test_ddl_is_gone(self) -> None:
        self.assertNotIn("extra", self.tables())

    def test_ddl_is_rolled_back(self) -> None:
        if self.refuses_ddl():
            return
        with self.own_engine.connect() as connection:
            connection.execute(text("CREATE TABLE extra (id INTEGER)"))
        self.assertEqual("extra" not in self.tables(), BACKEND.features.transactional_ddl)

    def test_ddl_is_still_gone(self) -> None:
        self.assertNotIn("extra", self.tables())

    def test_class_data_is_the_tests_own(self) -> None:
        self.assertIn(self.alice, self.own_session)
        self.assertIs(self.alice, self.alice)
        self.assertEqual([post.title for post in self.alice.posts], ["one", "two"])
        self.assertIs(self.alice.posts[0].author, self.alice)
        self.alice.name = "changed"
        self.alice.posts[0].title = "changed"
        self.own_session.commit()
        self.assertEqual(self.names(), ["changed"])

    def test_class_data_is_loaded(self) -> None:
        with self.assertNumQueries(0):
            self.assertEqual((self.tag.word, self.tag.color), ("red", "#f00"))
            self.assertEqual(self.alice.posts[1].title, "two")

    def test_class_data_can_be_deleted(self) -> None:
        for post in list(self.alice.posts):
            self.own_session.delete(post)
        self.own_session.delete(self.alice)
        self.own_session.commit()
        self.assertEqual(self.names(), [])

    def test_class_data_is_what_the_session_has_loaded(self) -> None:
        loaded = self.own_session.scalars(select(User)).one()
        loaded.name = "pending"
        self.assertIs(self.alice, loaded)
        self.assertEqual(self.alice.name, "pending")

    def test_assertions_see_the_database(self) -> None:
        self.check(self.assertDatabaseHas(User, name="alice"))
        self.own_session.add(User(name="unflushed"))
        self.check(self.assertDatabaseMissing(User, name="unflushed"))
        self.check(self.assertDatabaseCount(Post, 2, author=self.alice))

    def test_queries_of_all_engines_are_counted(self) -> None:
        with self.assertNumQueries(2) as statements:
            self.own_session.scalars(select(User)).all()
            with Session(self.app_engine) as session:
                session.scalars(select(User)).all()
            self.check(self.assertDatabaseCount(User, 1))
        self.assertEqual(len(statements), 2)


class InTheSandbox(Behaviour):
    """What transaction isolation adds: one transaction has to stand in for several."""

    def test_commits_in_any_order(self) -> None:
        with self.own_engine.connect() as first, self.own_engine.connect() as second:
            first.execute(insert(User).values(name="first"))
            second.execute(insert(User).values(name="second"))
            first.commit()
            second.rollback()
            first.execute(insert(User).values(name="third"))
            first.commit()
        self.assertEqual(self.names(), ["alice", "first", "third"])

    def test_rollback_that_would_undo_the_work_of_another(self) -> None:
        self.own_session.add(User(name="mine"))
        self.own_session.flush()
        self.register("bob")
        with self.assertRaises(InterleavedTransactionsError) as raised:
            self.own_session.rollback()
        message = str(raised.exception)
        self.assertIn(self.id(), message)
        self.assertIn("INSERT INTO users", message)
        self.assertEqual(message.count(__file__), 1, message)
        self.assertIn("behaviour.py", message)
        self.assertIn('@dbtestcase.isolation("truncation")', message)
        self.assertIn('@dbtestcase.isolation("template")', message)

    def test_rollback_of_the_inner_after_the_outer_wrote_again(self) -> None:
        with self.own_engine.connect() as outer, self.own_engine.connect() as inner:
            outer.execute(insert(User).values(name="outer"))
            inner.execute(insert(User).values(name="inner"))
            outer.execute(insert(User).values(name="again"))
            with self.assertRaises(InterleavedTransactionsError):
                inner.rollback()
            outer.commit()

    def test_statements_that_changed_nothing_hold_nothing_open(self) -> None:
        with Session(self.app_engine) as session:
            session.add(User(name="alice"))
            with self.assertRaises(IntegrityError):
                session.flush()
            self.register("bob")
            session.rollback()
            session.execute(update(User).where(User.name == "nobody").values(age=1))
            self.register("carl")
            session.rollback()
        self.assertEqual(self.names(), ["alice", "bob", "carl"])

    def test_savepoint_that_was_rolled_back_holds_nothing_open(self) -> None:
        nested = self.own_session.begin_nested()
        self.own_session.add(User(name="mine"))
        self.own_session.flush()
        nested.rollback()
        self.register("bob")
        self.own_session.rollback()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_what_is_left_open_at_the_end_is_no_error(self) -> None:
        self.own_session.add(User(name="mine"))
        self.own_session.flush()
        self.register("bob")

    def test_scripts_of_raw_connections_stay_in_the_sandbox(self) -> None:
        connection = self.own_engine.raw_connection()
        cursor = connection.cursor()
        for statement in ["BEGIN", "INSERT INTO users (name) VALUES ('bob')", "COMMIT"]:
            cursor.execute(statement)
        cursor.execute("INSERT INTO users (name) VALUES ('carl')")
        cursor.execute("ROLLBACK")
        cursor.close()
        connection.close()
        self.assertEqual(self.names(), ["alice", "bob"])

    def test_listeners_that_begin_transactions_do_no_harm(self) -> None:
        @event.listens_for(self.app_engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        self.addCleanup(event.remove, self.app_engine, "begin", begin)
        self.register("bob")
        self.assertEqual(self.names(), ["alice", "bob"])


class SyncTransaction(EveryIsolation, InTheSandbox, Sync):
    def test_threads(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.register, [f"user{number}" for number in range(20)]))
        self.assertEqual(len(self.names()), 21)


class AsyncTransaction(EveryIsolation, InTheSandbox, Async):
    pass


if "truncation" in ISOLATIONS:

    class SyncTruncation(EveryIsolation, Sync):
        isolation = "truncation"

    class AsyncTruncation(EveryIsolation, Async):
        isolation = "truncation"


if "template" in ISOLATIONS:

    class SyncTemplate(EveryIsolation, Sync):
        isolation = "template"

    class AsyncTemplate(EveryIsolation, Async):
        isolation = "template"


if "schema" in ISOLATIONS:

    class SyncSchema(EveryIsolation, Sync):
        isolation = "schema"

    class AsyncSchema(EveryIsolation, Async):
        isolation = "schema"


class ResetSequences(TestCase):
    def test_keys_start_at_1_whatever_class_had_the_database_before(self) -> None:
        class Keys(Behaviour):
            @classmethod
            def setUpTestData(cls, session: Session) -> None: ...

            def test_registers(self) -> None:
                self.register("bob")
                self.check(self.assertDatabaseHas(User, id=1))

            test_registers_again = test_registers

        class OfWhateverNumber(Behaviour):
            def test_registers(self) -> None:
                self.register("bob")

        pairs = [("transaction", Async), *((isolation, Sync) for isolation in sorted(ISOLATIONS))]
        for isolation, base in pairs:
            options = {"isolation": isolation}
            restarts = {**options, "reset_sequences": True}
            classes = [
                type("Before", (OfWhateverNumber, base), options),
                type("First", (Keys, base), restarts),
                type("Between", (OfWhateverNumber, base), options),
                type("Second", (Keys, base), restarts),
            ]
            with self.subTest(isolation, base=base):
                inner.passed(self, inner.run(*classes), 6)


class Cloning(TestCase):
    """Whether a schema is built once for classes that commit and classes that do not."""

    def test_is_as_the_backend_says(self) -> None:
        metadata = MetaData()
        Table("cloned", metadata, Column("id", Integer, primary_key=True))
        built: list[str] = []
        event.listen(metadata, "after_create", lambda target, *_, **__: built.append("once"))

        def test(self: Any) -> None:
            self.assertDatabaseEmpty()
            self.session.execute(metadata.tables["cloned"].insert())
            self.session.commit()

        isolations = sorted(ISOLATIONS) * 2
        cases = [
            type(
                "Case", (DatabaseTestCase,), {"metadata": metadata, "isolation": one, "test": test}
            )
            for one in isolations
        ]
        inner.passed(self, inner.run(*cases), len(cases))
        # or an earlier run has: the template, what is committed, its copy
        self.assertLessEqual(len(built), 1 if BACKEND.features.clones else 3)


class Required(TestCase):
    def test_the_backend_is_the_one_that_was_asked_for(self) -> None:
        """Fail, where another backend would be tested instead, if no server was named."""
        asked_for = os.environ.get("DBTESTCASE_REQUIRE") or BACKEND.title
        self.assertIn(BACKEND.title, map(str.strip, asked_for.split(",")))


class OtherIsolations(TestCase):
    """An isolation that the backend does not have is refused when a class asks for it."""

    def test_is_refused(self) -> None:
        for isolation in sorted({"truncation", "template", "schema"} - ISOLATIONS):
            case = type("Case", (DatabaseTestCase,), {"isolation": isolation, "test": print})
            with self.subTest(isolation):
                message = inner.only_error(self, inner.run(case))
                self.assertIn(f"has no isolation = '{isolation}'; use ", message)
