"""The HTTP side of the bookshop: sync routes for the catalogue, async ones for orders."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from .catalogue import Catalogue
from .db import get_async_db, get_db
from .errors import BookshopError
from .models import Book, Order
from .orders import Orders
from .schemas import Delivery, NewBook, NewOrder, ShownBook, ShownOrder

app = FastAPI(title="Bookshop")

Database = Annotated[Session, Depends(get_db)]
AsyncDatabase = Annotated[AsyncSession, Depends(get_async_db)]


@app.get("/books", response_model=list[ShownBook])
def list_books(database: Database) -> Sequence[Book]:
    return Catalogue(database).books()


@app.post("/books", response_model=ShownBook, status_code=201)
def add_book(new: NewBook, database: Database) -> Book:
    return Catalogue(database).add(new.isbn, new.title, new.author)


@app.post("/deliveries", status_code=204)
def receive_delivery(delivery: Delivery, database: Database) -> None:
    Catalogue(database).receive(delivery)


@app.get("/orders/{reference}", response_model=ShownOrder)
async def show_order(reference: str, database: AsyncDatabase) -> Order:
    return await Orders(database).find(reference)


@app.post("/orders", status_code=204)
async def place_order(new: NewOrder, database: AsyncDatabase) -> None:
    await Orders(database).place(new.reference, new.basket)


@app.exception_handler(BookshopError)
async def refuse(request: Request, error: BookshopError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=error.status_code)
