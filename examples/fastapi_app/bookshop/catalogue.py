"""Books and how many copies of them there are."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from .errors import DuplicateError, UnknownError
from .models import Author, Book


class Catalogue:
    """The books of the shop. It commits by itself, so that no route can forget to."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def books(self) -> Sequence[Book]:
        query = select(Book).options(joinedload(Book.author)).order_by(Book.title)
        return self._session.scalars(query).all()

    def add(self, isbn: str, title: str, author: str) -> Book:
        book = Book(isbn=isbn, title=title, author=self._author(author))
        self._session.add(book)
        try:
            self._session.commit()
        except IntegrityError as error:
            self._session.rollback()
            raise DuplicateError(f"{isbn} is in the catalogue already") from error
        return book

    def receive(self, delivery: Mapping[str, int]) -> None:
        """Add a whole delivery to the stock, or nothing of it."""
        for isbn, copies in delivery.items():
            self._add_to_stock(isbn, copies)
        self._session.commit()

    def _author(self, name: str) -> Author:
        known = self._session.scalar(select(Author).where(Author.name == name))
        return known or Author(name=name)

    def _add_to_stock(self, isbn: str, copies: int) -> None:
        more = update(Book).where(Book.isbn == isbn).values(stock=Book.stock + copies)
        if self._session.execute(more).rowcount == 0:
            raise UnknownError(f"{isbn} is not in the catalogue")
