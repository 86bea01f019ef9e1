"""Async routes, tested with an async client that is shared by all tests of a class."""

import httpx

from bookshop.app import app
from bookshop.models import Author, Base, Book, Order, OrderLine
from dbtestcase import AsyncDatabaseTestCase

PARABLE_OF_THE_SOWER = "978-1-5387-3218-2"
KINDRED = "978-0-8070-8369-7"


class OrderTests(AsyncDatabaseTestCase):
    metadata = Base.metadata
    engines = ["bookshop.db:engine", "bookshop.db:async_engine"]

    @classmethod
    async def asyncSetUpClass(cls):
        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url="http://bookshop")
        cls.client = await cls.enterAsyncClassContext(client)

    @classmethod
    async def asyncSetUpTestData(cls, session):
        author = Author(name="Octavia E. Butler")
        cls.kindred = Book(isbn=KINDRED, title="Kindred", stock=3, author=author)
        cls.parable = Book(
            isbn=PARABLE_OF_THE_SOWER, title="Parable of the Sower", stock=1, author=author
        )
        session.add_all([cls.kindred, cls.parable])

    async def test_order_takes_books_from_stock(self):
        response = await self.order("first", {KINDRED: 2})
        self.assertEqual(response.status_code, 204)
        await self.assertDatabaseHas(OrderLine, book=self.kindred, copies=2)
        await self.assertDatabaseHas(Book, isbn=KINDRED, stock=1)

    async def test_order_that_cannot_be_filled_is_undone(self):
        response = await self.order("greedy", {KINDRED: 2, PARABLE_OF_THE_SOWER: 2})
        self.assertEqual(response.status_code, 409)
        await self.assertDatabaseHas(Book, isbn=KINDRED, stock=3)
        await self.assertDatabaseEmpty(exclude=[Author, Book])

    async def test_reference_cannot_be_used_twice(self):
        await self.order("first", {KINDRED: 1})
        response = await self.order("first", {KINDRED: 1})
        self.assertEqual(response.status_code, 409)
        await self.assertDatabaseCount(Order, 1, reference="first")
        await self.assertDatabaseHas(Book, isbn=KINDRED, stock=2)

    async def test_shows_order_with_two_queries(self):
        self.session.add(Order(reference="first", lines=[OrderLine(book=self.kindred, copies=2)]))
        await self.session.commit()
        with self.assertNumQueries(2):
            response = await self.client.get("/orders/first")
        lines = [{"book": {"isbn": KINDRED, "title": "Kindred"}, "copies": 2}]
        self.assertEqual(response.json(), {"reference": "first", "lines": lines})

    async def test_unknown_order_is_not_found(self):
        response = await self.client.get("/orders/unknown")
        self.assertEqual(response.status_code, 404)
        await self.assertDatabaseMissing(Order, reference="unknown")

    async def test_async_and_sync_routes_see_one_database(self):
        await self.client.post("/deliveries", json={PARABLE_OF_THE_SOWER: 2})
        await self.order("first", {PARABLE_OF_THE_SOWER: 3})
        books = (await self.client.get("/books")).json()
        self.assertEqual([book["stock"] for book in books], [3, 0])

    async def order(self, reference, basket):
        return await self.client.post("/orders", json={"reference": reference, "basket": basket})
