"""Models whose module nobody has imported when a class is set up."""

from __future__ import annotations

import unittest
from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

from . import inner


class LateModels(unittest.TestCase):
    def failure(self, case: type[unittest.TestCase], **options: Any) -> str:
        class Base(DeclarativeBase):
            pass

        def define() -> Any:
            class Late(Base):
                __tablename__ = "late"
                id: Mapped[int] = mapped_column(primary_key=True)

            return Late

        given = {"metadata": Base.metadata, "define": staticmethod(define), **options}
        return inner.only_error(self, inner.run(type("Inner", (case,), given)))

    def test_in_a_test(self) -> None:
        class Sync(DatabaseTestCase):
            define: Any

            def test(self) -> None:
                self.session.add(self.define()())
                self.session.commit()

        class Async(AsyncDatabaseTestCase):
            define: Any

            async def test(self) -> None:
                self.session.add(self.define()())
                await self.session.commit()

        for case in (Sync, Async):
            with self.subTest(case):
                error = self.failure(case)
                self.assertIn("no such table: late", error)
                self.assertIn("The database has no table for late: metadata did not have", error)
                self.assertIn("To fix this, import the module with these models", error)

    def test_in_class_data(self) -> None:
        class Inner(DatabaseTestCase):
            define: Any

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                session.add(cls.define()())

            def test(self) -> None: ...

        self.assertIn("The database has no table for late", self.failure(Inner))

    def test_is_not_said_of_other_failures(self) -> None:
        class Inner(DatabaseTestCase):
            define: Any

            def test(self) -> None:
                self.define()
                self.fail("on purpose")

        self.assertNotIn("has no table for", self.failure(Inner))
