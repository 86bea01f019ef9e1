"""Eleven tests of a repository: what it does, and what it does with what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dbtestcase import DatabaseTestCase


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(100))
    pages: Mapped[int]


class BookRepository:
    """Books, kept through a session; each change is committed."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def create(self, title: str, pages: int) -> Book:
        book = Book(title=title, pages=pages)
        self.session.add(book)
        self.session.commit()
        return book

    def read(self, key: int) -> Book:
        book = self.session.get(Book, key)
        if book is None:
            raise LookupError(key)
        return book

    def update(self, key: int, title: str, pages: int) -> Book:
        return self.patch(key, title=title, pages=pages)

    def patch(self, key: int, **values: Any) -> Book:
        book = self.read(key)
        for name, value in values.items():
            setattr(book, name, value)
        self.session.commit()
        return book

    def delete(self, key: int) -> None:
        self.session.delete(self.read(key))
        self.session.commit()

    def list(self) -> Sequence[Book]:
        return self.session.scalars(select(Book).order_by(Book.id)).all()


class BookRepositoryTests(DatabaseTestCase):
    metadata = Base.metadata

    def setUp(self) -> None:
        super().setUp()
        self.books = BookRepository(self.session)

    def test_create(self) -> None:
        self.books.create("Emma", 474)
        self.assertDatabaseHas(Book, title="Emma", pages=474)

    def test_read(self) -> None:
        book = self.books.create("Emma", 474)
        self.assertEqual(self.books.read(book.id).title, "Emma")

    def test_read_not_found(self) -> None:
        with self.assertRaises(LookupError):
            self.books.read(1)

    def test_update(self) -> None:
        book = self.books.create("Emma", 474)
        self.books.update(book.id, "Persuasion", 249)
        self.assertDatabaseHas(Book, title="Persuasion", pages=249)

    def test_update_not_found(self) -> None:
        with self.assertRaises(LookupError):
            self.books.update(1, "Persuasion", 249)

    def test_patch(self) -> None:
        book = self.books.create("Emma", 474)
        self.books.patch(book.id, pages=1)
        self.assertDatabaseHas(Book, title="Emma", pages=1)

    def test_patch_not_found(self) -> None:
        with self.assertRaises(LookupError):
            self.books.patch(1, pages=1)

    def test_delete(self) -> None:
        self.books.delete(self.books.create("Emma", 474).id)
        self.assertDatabaseEmpty()

    def test_delete_not_found(self) -> None:
        with self.assertRaises(LookupError):
            self.books.delete(1)

    def test_list(self) -> None:
        self.books.create("Emma", 474)
        self.books.create("Persuasion", 249)
        self.assertEqual([book.title for book in self.books.list()], ["Emma", "Persuasion"])

    def test_list_empty(self) -> None:
        self.assertEqual(self.books.list(), [])
