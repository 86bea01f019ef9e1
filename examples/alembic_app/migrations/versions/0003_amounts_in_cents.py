"""amounts in cents, of a currency"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

invoices = sa.table(
    "invoices", sa.column("amount", sa.Numeric(10, 2)), sa.column("cents", sa.Integer)
)


def upgrade() -> None:
    op.add_column("invoices", sa.Column("currency", sa.String(3), server_default="EUR"))
    op.add_column("invoices", sa.Column("cents", sa.Integer))
    op.execute(invoices.update().values(cents=sa.cast(invoices.c.amount * 100, sa.Integer)))
    with op.batch_alter_table("invoices") as table:
        table.alter_column("cents", existing_type=sa.Integer, nullable=False)
        table.alter_column(
            "currency", existing_type=sa.String(3), existing_server_default="EUR", nullable=False
        )
        table.drop_column("amount")


def downgrade() -> None:
    op.add_column("invoices", sa.Column("amount", sa.Numeric(10, 2)))
    op.execute(invoices.update().values(amount=invoices.c.cents / 100.0))
    with op.batch_alter_table("invoices") as table:
        table.alter_column("amount", existing_type=sa.Numeric(10, 2), nullable=False)
        table.drop_column("cents")
        table.drop_column("currency")
