"""The migrations themselves: every revision, and what the third does to amounts."""

from decimal import Decimal
from pathlib import Path

from sqlalchemy import insert, select

from dbtestcase import MigrationTestCase
from invoicing.billing import owed
from invoicing.models import Base


class LedgerMigrationTests(MigrationTestCase):
    migrations = Path(__file__).parent / "alembic.ini"
    metadata = Base.metadata
    engines = ["invoicing.db:engine"]

    def test_amounts_become_cents(self):
        self.migrate_to("0002")
        self.connection.execute(insert(self.table("customers")).values(id=1, name="Ann"))
        invoices = self.table("invoices")
        self.connection.execute(insert(invoices).values(customer_id=1, amount=Decimal("12.50")))

        self.migrate_to("0003")
        self.assertDatabaseHas("invoices", cents=1250, currency="EUR")
        self.assertEqual(owed("Ann"), 1250)

        self.migrate_to("0002")
        amounts = self.connection.scalars(select(self.table("invoices").c.amount)).all()
        self.assertEqual(amounts, [Decimal("12.50")])
