"""What a class has not, or not yet, says so when it is used."""

from __future__ import annotations

import inspect
import unittest
from copy import copy
from typing import Any

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, NotReadyError

from . import inner
from .models import Base, User


class OnTheClass(unittest.TestCase):
    def test_session_in_set_up_test_data(self) -> None:
        for base in (DatabaseTestCase, AsyncDatabaseTestCase):

            def make(cls: Any, session: Any) -> None:
                cls.session.add(User(name="alice"))

            attributes = {
                "metadata": Base.metadata,
                "setUpTestData": classmethod(make),
                "test": lambda self: None,
            }
            message = inner.only_error(self, inner.run(type("UserTests", (base,), attributes)))
            self.assertIn(
                "UserTests.session is not there: each test has its own, as self.session, and the "
                "class has none.\n  To fix this, use the session that setUpTestData is given",
                message,
            )

    def test_before_its_set_up(self) -> None:
        for base in (DatabaseTestCase, AsyncDatabaseTestCase):
            case: Any = type("UserTests", (base,), {})
            for use in (lambda case=case: case.engine.connect(), case.session_factory):
                with self.assertRaisesRegex(NotReadyError, "UserTests.setUpClass has not run"):
                    use()

    def test_collecting_attributes(self) -> None:
        for name in ("session", "connection", "statements", "engine", "session_factory"):
            found = getattr(DatabaseTestCase, name)
            self.assertFalse(hasattr(found, "__wrapped__"))
            self.assertFalse(hasattr(found, "pytestmark"))
            self.assertTrue(inspect.getdoc(found))
            self.assertEqual(copy(found).__doc__, found.__doc__)
