"""names are unique"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("customers") as customers:
        customers.create_unique_constraint("uq_customers_name", ["name"])


def downgrade() -> None:
    with op.batch_alter_table("customers") as customers:
        customers.drop_constraint("uq_customers_name", type_="unique")
