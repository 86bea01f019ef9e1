"""What the application does."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from .db import engine
from .models import Customer, Invoice


def bill(name: str, cents: int) -> int:
    """Write an invoice for the customer ``name``, who may be new, and return its number."""
    with Session(engine) as session, session.begin():
        customer = session.scalars(select(Customer).filter_by(name=name)).one_or_none()
        invoice = Invoice(customer=customer or Customer(name=name), cents=cents)
        session.add(invoice)
        session.flush()
        return invoice.id


def owed(name: str) -> int:
    """Return the cents of all invoices for the customer ``name``."""
    total = select(func.coalesce(func.sum(Invoice.cents), 0)).join(Customer)
    with Session(engine) as session:
        return int(session.scalars(total.filter_by(name=name)).one())
