"""What is left to commit: where it passes, where it fails, and what a person reads then."""

from __future__ import annotations

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from .behaviour import ISOLATIONS, Async, Sync
from .shop import Account, Shop, log


class Commits(Shop):
    def test_committed(self) -> None:
        self.check(self.assertCommitted())
        self.own_session.add(Account(email="carl@example.org"))
        self.own_session.commit()
        self.sql(insert(log).values(line="done"))
        self.own_connection.execute(select(Account))
        self.own_session.scalars(select(Account)).all()
        with Session(self.app_engine) as session:
            session.execute(insert(log).values(line="never"))
            session.rollback()
            session.scalars(select(Account)).all()
            self.check(self.assertCommitted())

    def test_autocommit_commits(self) -> None:
        engine = self.own_engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(insert(log).values(line="done"))
            self.check(self.assertCommitted())

    def test_statement_that_changed_nothing_leaves_nothing_to_commit(self) -> None:
        if self.isolation != "transaction" and "schema" in ISOLATIONS:
            return  # there triggers note which tables are written to, and write that
        self.own_connection.execute(update(log).values(line="done"))
        self.check(self.assertCommitted())

    def test_work_before_a_commit_is_committed_and_work_after_it_is_not(self) -> None:
        connection = self.own_connection
        connection.execute(insert(log).values(line="done"))
        connection.commit()
        self.check(self.assertCommitted())
        connection.execute(text("INSERT INTO log VALUES ('after')"))
        self.assertIn("VALUES ('after')", self.failure(self.assertCommitted))
        connection.rollback()
        self.check(self.assertCommitted())

    def test_changes_to_what_it_was_are_none(self) -> None:
        self.alice.name = self.alice.name
        self.assertIn(self.alice, self.own_session.dirty)
        self.check(self.assertCommitted())

    def test_fails_for_what_is_not_flushed(self) -> None:
        self.own_session.add(Account(email="carl@example.org"))
        self.says(
            self.failure(self.assertCommitted),
            "Not everything is committed:",
            "  a session has unflushed changes (Account): flush and commit them",
        )
        self.assertEqual(len(self.own_session.new), 1)

    def test_fails_for_what_a_session_has_flushed(self) -> None:
        self.own_session.add(Account(email="carl@example.org"))
        self.own_session.flush()
        text = self.failure(self.assertCommitted)
        self.assertIn("Not everything is committed:\n  ", text)
        self.assertIn("INSERT INTO accounts (email,", text)
        self.own_session.commit()
        self.check(self.assertCommitted())

    def test_fails_for_the_application(self) -> None:
        with Session(self.app_engine) as session:
            session.execute(insert(log).values(line="to be committed"))
            text = self.failure(self.assertCommitted)
            self.assertIn("Not everything is committed:\n  ", text)
            self.assertIn("INSERT INTO log (line) VALUES", text)
            session.commit()
            self.check(self.assertCommitted())

    def test_savepoints_do_not_commit(self) -> None:
        with Session(self.app_engine) as session:
            with session.begin_nested():
                session.execute(insert(log).values(line="to be committed"))
            self.assertIn("Not everything is committed", self.failure(self.assertCommitted))

    def test_long_statements_are_cut(self) -> None:
        self.own_connection.execute(insert(log).values([{"line": str(n)} for n in range(100)]))
        lines = self.failure(self.assertCommitted).splitlines()
        self.assertTrue(lines[1].endswith("…"), lines)
        self.assertLess(len(lines[1]), 360)


class InTheSandbox(Commits):
    def test_fails_and_shows_where_the_connection_was_opened(self) -> None:
        with self.own_engine.connect() as connection:
            connection.execute(insert(log).values(line="to be committed"))
            with connection.begin_nested():
                connection.execute(insert(log).values(line="too"))
                lines = self.failure(self.assertCommitted).splitlines()
        self.assertEqual(len(lines), 3, lines)
        self.assertIn(f"on the connection opened at {__file__}:", lines[2])


class SyncCommits(InTheSandbox, Sync):
    pass


class AsyncCommits(InTheSandbox, Async):
    pass


if "truncation" in ISOLATIONS:

    class SyncCommitsUnderTruncation(Commits, Sync):
        isolation = "truncation"

    class AsyncCommitsUnderTruncation(Commits, Async):
        isolation = "truncation"
