"""What goes over the wire."""

from pydantic import BaseModel, ConfigDict, PositiveInt


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ShownAuthor(Shown):
    name: str


class ShownBook(Shown):
    isbn: str
    title: str
    stock: int
    author: ShownAuthor


class NewBook(BaseModel):
    isbn: str
    title: str
    author: str


class OrderedBook(Shown):
    isbn: str
    title: str


class ShownLine(Shown):
    book: OrderedBook
    copies: int


class ShownOrder(Shown):
    reference: str
    lines: list[ShownLine]


class NewOrder(BaseModel):
    reference: str
    basket: dict[str, PositiveInt]


Delivery = dict[str, PositiveInt]
