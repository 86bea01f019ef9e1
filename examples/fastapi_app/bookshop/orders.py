"""Orders, which take books out of the stock."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from .errors import DuplicateError, OutOfStockError, UnknownError
from .models import Book, Order, OrderLine


class Orders:
    """The orders of the shop's customers. Like the catalogue, it commits by itself."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, reference: str) -> Order:
        lines_with_books = selectinload(Order.lines).joinedload(OrderLine.book)
        query = select(Order).where(Order.reference == reference).options(lines_with_books)
        order = await self._session.scalar(query)
        if order is None:
            raise UnknownError(f"there is no order {reference}")
        return order

    async def place(self, reference: str, basket: Mapping[str, int]) -> None:
        """Order the whole basket, or nothing of it."""
        order = await self._open(reference)
        for isbn, copies in basket.items():
            book = await self._take_from_stock(isbn, copies)
            self._session.add(OrderLine(order=order, book=book, copies=copies))
        await self._session.commit()

    async def _open(self, reference: str) -> Order:
        order = Order(reference=reference)
        self._session.add(order)
        try:
            await self._session.flush()
        except IntegrityError as error:
            await self._session.rollback()
            raise DuplicateError(f"order {reference} has been placed already") from error
        return order

    async def _take_from_stock(self, isbn: str, copies: int) -> Book:
        book = await self._session.scalar(select(Book).where(Book.isbn == isbn).with_for_update())
        if book is None or book.stock < copies:
            raise OutOfStockError(f"there are not {copies} copies of {isbn}")
        book.stock -= copies
        return book
