"""Tests that fail, for other tests to read what is reported: run by name only."""

from __future__ import annotations

import unittest

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from ..models import Tag, User
from .behaviour import Async, Behaviour, Sync
from .test_behaviour import ISOLATIONS


class Failing(Behaviour):
    def change(self) -> None:
        """One row inserted, one updated and one deleted, all of them committed."""
        self.register("bob")
        with Session(self.app_engine) as session:
            session.execute(update(User).where(User.name == "alice").values(age=30))
            session.execute(delete(Tag))
            session.commit()

    def afterwards(self, name: str) -> None:
        """Let the application write once more when the test has failed, in a clean-up."""
        if isinstance(self, Async):
            self.addAsyncCleanup(greenlet_spawn, self.register, name)
        else:
            self.addCleanup(self.register, name)  # type: ignore[attr-defined]

    def test_fails(self) -> None:
        self.change()
        self.afterwards("carl")
        self.assertEqual(self.names(), ["alice"])

    def test_starts_clean_after_one_that_failed(self) -> None:
        self.assertEqual(self.names(), ["alice"])
        self.check(self.assertDatabaseCount(Tag, 1, word=self.tag.word))

    def test_fails_in_sub_tests(self) -> None:
        for name in ("carl", "dora"):
            with self.subTest(name):
                self.register(name)
                self.fail(f"with {name}")

    def test_reads_and_passes(self) -> None:
        self.assertEqual(len(self.own_session.scalars(select(User)).all()), 1)

    @unittest.expectedFailure
    def test_fails_as_expected(self) -> None:
        self.change()
        self.fail()

    def test_is_skipped(self) -> None:
        self.change()
        self.skipTest("for a reason")


class SyncTransaction(Failing, Sync): ...


class AsyncTransaction(Failing, Async): ...


if "truncation" in ISOLATIONS:

    class SyncTruncation(Failing, Sync):
        isolation = "truncation"

    class AsyncTruncation(Failing, Async):
        isolation = "truncation"


if "template" in ISOLATIONS:

    class SyncTemplate(Failing, Sync):
        isolation = "template"

    class AsyncTemplate(Failing, Async):
        isolation = "template"


if "schema" in ISOLATIONS:

    class SyncSchema(Failing, Sync):
        isolation = "schema"

    class AsyncSchema(Failing, Async):
        isolation = "schema"
