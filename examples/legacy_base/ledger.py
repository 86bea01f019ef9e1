"""A ledger, with the one session per thread that applications had before dependency injection."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sqlalchemy import ForeignKey, String, create_engine, func, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    mapped_column,
    relationship,
    scoped_session,
    sessionmaker,
)

DATABASE = os.environ.get("LEDGER_DATABASE", "ledger@db.production.invalid/ledger")

engine = create_engine(f"postgresql+psycopg://{DATABASE}")
Session = scoped_session(sessionmaker(engine))


class Base(DeclarativeBase):
    query = Session.query_property()


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(50), unique=True)
    entries: Mapped[list[Entry]] = relationship(back_populates="account")

    @property
    def balance(self) -> int:
        mine = select(func.coalesce(func.sum(Entry.amount), 0)).where(Entry.account == self)
        return int(Session.scalars(mine).one())


class Entry(Base):
    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    account: Mapped[Account] = relationship(back_populates="entries")


class OverdrawnError(Exception):
    pass


def transfer(source: str, target: str, amount: int) -> None:
    """Move money between accounts, all of it or nothing."""
    for owner, change in ((target, amount), (source, -amount)):
        account = Account.query.filter_by(owner=owner).one()
        Session.add(Entry(account=account, amount=change))
        Session.flush()
        if account.balance < 0:
            raise OverdrawnError(owner)


def handle(command: Callable[..., None], *args: Any) -> bool:
    """Run ``command`` as a web framework runs a request; return whether it succeeded."""
    try:
        command(*args)
        Session.commit()
    except OverdrawnError:
        Session.rollback()
        return False
    finally:
        Session.remove()
    return True
