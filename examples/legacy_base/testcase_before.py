"""The base class of the ledger's tests."""

import os
import unittest
from unittest import mock

from sqlalchemy import create_engine, event
from sqlalchemy.pool import StaticPool

from ledger import Base, Session


class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        url = os.environ.get("TEST_DATABASE_URL", "sqlite://")
        cls.engine = create_engine(url, poolclass=StaticPool)
        if cls.engine.dialect.name == "sqlite":

            @event.listens_for(cls.engine, "connect")
            def connect(connection, record):
                connection.isolation_level = None  # pysqlite's own BEGIN comes too late

            @event.listens_for(cls.engine, "begin")
            def begin(connection):
                connection.exec_driver_sql("BEGIN")

        Base.metadata.create_all(cls.engine)

    @classmethod
    def tearDownClass(cls):
        Base.metadata.drop_all(cls.engine)
        cls.engine.dispose()
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.connection = self.engine.connect()
        self.transaction = self.connection.begin()
        self.bind = Session.session_factory.kw["bind"]
        Session.remove()
        Session.configure(bind=self.connection, join_transaction_mode="create_savepoint")
        self.session = Session()
        self.patcher = mock.patch.object(Session, "remove")
        self.patcher.start()

    def tearDown(self):
        self.patcher.stop()
        Session.remove()
        self.transaction.rollback()
        self.connection.close()
        Session.configure(bind=self.bind)
        super().tearDown()
