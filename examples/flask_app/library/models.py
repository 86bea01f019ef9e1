"""The tables of the library, and of its statistics in a database of their own."""

from __future__ import annotations

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Book(db.Model):  # type: ignore[name-defined]
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(100))
    loan: Mapped[Loan | None] = relationship(back_populates="book")


class Loan(db.Model):  # type: ignore[name-defined]
    __tablename__ = "loans"
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id"), primary_key=True)
    reader: Mapped[str] = mapped_column(String(50))
    book: Mapped[Book] = relationship(back_populates="loan")


class Lending(db.Model):  # type: ignore[name-defined]
    __bind_key__ = "statistics"
    __tablename__ = "lendings"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(100))
