"""The application on the schema that production has: the one its migrations make."""

from pathlib import Path

from dbtestcase import DatabaseTestCase
from invoicing.billing import bill, owed
from invoicing.models import Base, Customer, Invoice


class BillingTests(DatabaseTestCase):
    migrations = Path(__file__).parent / "alembic.ini"
    metadata = Base.metadata
    engines = ["invoicing.db:engine"]

    @classmethod
    def setUpTestData(cls, session):
        session.add(Invoice(customer=Customer(name="Ann"), cents=1000))

    def test_known_customer(self):
        bill("Ann", 250)
        self.assertEqual(owed("Ann"), 1250)
        self.assertDatabaseCount(Customer, 1)

    def test_new_customer(self):
        bill("Bob", 250)
        self.assertEqual(owed("Bob"), 250)
        self.assertDatabaseHas(Invoice, cents=250, currency="EUR")

    def test_starts_clean(self):
        self.assertEqual(owed("Ann"), 1000)
        self.assertDatabaseMissing(Customer, name="Bob")
