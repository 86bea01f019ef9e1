"""The base class of the ledger's tests."""

from dbtestcase import DatabaseTestCase
from ledger import Base, Session


class TestCase(DatabaseTestCase):
    metadata = Base.metadata
    session_factories = [Session]
