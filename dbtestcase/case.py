"""The test case for synchronous code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .assertions import DatabaseAssertions
from .base_case import BaseDatabaseTestCase, FromClass, FromTest, overrides
from .event_loop import run_alone
from .statements import UNRECORDED

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session

    from .lifecycle import TestLifecycle


class DatabaseTestCase(BaseDatabaseTestCase, DatabaseAssertions[None]):
    """A ``unittest.TestCase`` each of whose tests has a real database, clean at its start.

    During a test every way into the database is isolated: :attr:`session`, :attr:`connection`,
    :attr:`engine`, and the engines of the application that the option ``engines`` names. Each
    connection commits and rolls back for itself; when the test ends, nothing has happened.
    """

    @FromClass
    def engine(cls) -> Engine:
        """The engine of the test's database. It is the same for all tests of the class."""
        return cls._dbtestcase_lifecycle.engines.sync_engine.execution_options()

    @FromClass
    def session_factory(cls) -> Callable[..., Session]:
        """A ``sessionmaker`` bound to :attr:`engine`, with the ``session_options``."""
        from sqlalchemy.orm import Session, sessionmaker

        return sessionmaker(cls.engine, class_=cls.session_class or Session, **cls.session_options)

    @FromTest
    def session(self, test: TestLifecycle) -> Session:
        """A session on a connection of its own, closed when the test ends."""
        session = self.session_factory()
        test.give_data_to(session)
        return session

    @FromTest
    def connection(self, test: TestLifecycle) -> Connection:
        """A connection of its own, closed when the test ends."""
        return self.engine.connect()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls._dbtestcase_set_up_class(
            is_async=False, run=run_alone, load_data=cls._dbtestcase_load_data
        )

    def setUp(self) -> None:
        super().setUp()
        self._dbtestcase_set_up(self._dbtestcase_clean_up)

    @classmethod
    def _dbtestcase_load_data(cls) -> None:
        if overrides(cls, DatabaseTestCase, "setUpTestData"):
            with cls.session_factory(expire_on_commit=False) as session:
                cls.setUpTestData(session)
                session.commit()
                cls._dbtestcase_lifecycle.keep_data(session, cls._dbtestcase_instances)

    def _dbtestcase_clean_up(self, test: TestLifecycle) -> None:
        self._dbtestcase_test = None
        with ExitStack() as last:
            last.callback(test.finish)
            for opened in test.opened():
                last.callback(opened.close)
            test.abandon()

    def _dbtestcase_check(self, name: str, check: Callable[[Connection], None]) -> None:
        with self.engine.connect() as connection:
            check(connection.execution_options(**UNRECORDED))

    def _dbtestcase_session(self) -> Session | None:
        test = self._dbtestcase_test
        return None if test is None else test.given.get("session")
