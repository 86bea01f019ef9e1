"""An application with constraints of every kind, documents, and rows that are marked as deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.util import await_only

from dbtestcase import UsageError
from dbtestcase.assertions.pending import AsyncBlock, Block


class Base(DeclarativeBase):
    type_annotation_map = {str: String(100), dict[str, Any]: JSON}


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="pk_accounts"),
        UniqueConstraint("email", name="uq_accounts_email"),
        CheckConstraint("balance >= 0", name="ck_accounts_balance"),
        Index("ix_accounts_name", "name"),
        Index("ix-accounts (deleted)", "deleted_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str | None]
    balance: Mapped[int] = mapped_column(default=0)
    profile: Mapped[dict[str, Any] | None]
    deleted_at: Mapped[datetime | None]
    orders: Mapped[list[Order]] = relationship(back_populates="account")


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_number", "number", unique=True),
        ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_orders_account"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str]
    account_id: Mapped[int | None]
    is_deleted: Mapped[bool] = mapped_column(default=False)
    account: Mapped[Account | None] = relationship(back_populates="orders")
    items: Mapped[list[Item]] = relationship()


class Item(Base):
    """Whose constraints have no names of ours."""

    __tablename__ = "items"
    order_id: Mapped[int] = mapped_column(
        ForeignKey("orders.id", ondelete="RESTRICT"), primary_key=True
    )
    product: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str | None] = mapped_column(unique=True)


#: Without a primary key.
log = Table("log", Base.metadata, Column("line", String(100)))


class Shop:
    """Class data for the tests, and help to make assertions in both colours."""

    metadata = Base.metadata
    own_session: Session
    own_engine: Any
    app_engine: Any

    @classmethod
    def setUpTestData(cls, session: Session) -> None:
        cls.alice = Account(
            id=1001,
            email="alice@example.org",
            name="alice",
            balance=30,
            profile={
                "address": {"city": "Paris", "zip": "75001"},
                "tags": ["a", "b"],
                "is_open": True,
            },
            orders=[Order(id=2001, number="A1", items=[Item(product="pen"), Item(product="ink")])],
        )
        cls.bob = Account(
            id=1002, email="bob@example.org", name="bob", deleted_at=datetime(2024, 1, 2)
        )
        session.add(cls.alice)
        session.flush()
        session.add(cls.bob)

    def check(self, assertion: Any) -> None:
        """Make an assertion, which in the async test case is awaited."""
        if assertion is not None:
            await_only(assertion)

    @contextmanager
    def block(self, manager: Any) -> Iterator[Any]:
        """Enter what an assertion returned, which in the async test case is for ``async with``."""
        if not isinstance(manager, AsyncBlock):
            with manager as entered:
                yield entered
            return
        entered = await_only(manager.__aenter__())
        try:
            yield entered
        except BaseException as error:
            if not await_only(manager.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            await_only(manager.__aexit__(None, None, None))

    def failure(self, assertion: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        """Return what ``assertion`` says as it fails."""
        with self.assertRaises(AssertionError) as raised:
            self.check(assertion(*args, **kwargs))
        return str(raised.exception)

    def block_failure(self, manager: Any, action: Callable[[], object] = lambda: None) -> str:
        """Return what an assertion about a block says as it fails because of ``action``."""
        with self.assertRaises(AssertionError) as raised, self.block(manager):
            action()
        return str(raised.exception)

    def misuse(self, assertion: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        """Return what is said of wrong use, by the assertion or the block that it is about."""
        with self.assertRaises(UsageError) as raised:
            made = assertion(*args, **kwargs)
            if isinstance(made, (Block, AsyncBlock)):
                with self.block(made):
                    pass
            self.check(made)
        return str(raised.exception)

    def says(self, text: str, *lines: str) -> None:
        self.assertEqual(text.splitlines(), list(lines))

    def sql(self, statement: Any, parameters: Any = None) -> None:
        """Execute and commit, as the application would."""
        with self.own_engine.begin() as connection:
            connection.execute(statement, parameters)
