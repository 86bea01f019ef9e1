"""Sync routes, tested through their HTTP interface; FastAPI runs them in worker threads."""

from fastapi.testclient import TestClient

from bookshop.app import app
from bookshop.models import Author, Base, Book
from dbtestcase import DatabaseTestCase

DISPOSSESSED = "978-0-06-051275-0"
LATHE_OF_HEAVEN = "978-1-4165-5696-1"
KINDRED = "978-0-8070-8369-7"


class CatalogueTests(DatabaseTestCase):
    metadata = Base.metadata
    engines = ["bookshop.db:engine", "bookshop.db:async_engine"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = cls.enterClassContext(TestClient(app))

    @classmethod
    def setUpTestData(cls, session):
        cls.author = Author(name="Ursula K. Le Guin")
        cls.book = Book(isbn=DISPOSSESSED, title="The Dispossessed", stock=3, author=cls.author)
        session.add(cls.book)

    def test_adds_book_and_author(self):
        response = self.add_book(KINDRED, "Kindred", "Octavia E. Butler")
        self.assertEqual(response.status_code, 201)
        self.assertDatabaseHas(Book, isbn=KINDRED, title="Kindred", stock=0)
        self.assertDatabaseHas(Author, name="Octavia E. Butler")

    def test_adds_book_to_known_author(self):
        response = self.add_book(LATHE_OF_HEAVEN, "The Lathe of Heaven", self.author.name)
        self.assertEqual(response.status_code, 201)
        self.assertDatabaseCount(Book, 2, author=self.author)
        self.assertDatabaseCount(Author, 1)

    def test_refuses_duplicate_isbn_with_its_new_author(self):
        response = self.add_book(DISPOSSESSED, "Kindred", "Octavia E. Butler")
        self.assertEqual(response.status_code, 409)
        self.assertDatabaseMissing(Book, title="Kindred")
        self.assertDatabaseMissing(Author, name="Octavia E. Butler")

    def test_keeps_what_was_added_before_a_duplicate(self):
        self.add_book(KINDRED, "Kindred", "Octavia E. Butler")
        self.assertEqual(self.add_book(KINDRED, "Kindred", "anybody").status_code, 409)
        self.assertDatabaseCount(Book, 1, isbn=KINDRED)

    def test_lists_books_with_one_query(self):
        self.add_book(KINDRED, "Kindred", "Octavia E. Butler")
        with self.assertNumQueries(1):
            books = self.client.get("/books").json()
        self.assertEqual([book["title"] for book in books], ["Kindred", "The Dispossessed"])
        self.assertEqual(books[1]["author"], {"name": "Ursula K. Le Guin"})

    def test_lists_what_the_test_has_committed(self):
        self.book.stock = 0
        self.session.commit()
        self.assertEqual(self.client.get("/books").json()[0]["stock"], 0)

    def test_delivery_goes_into_stock(self):
        response = self.client.post("/deliveries", json={DISPOSSESSED: 5})
        self.assertEqual(response.status_code, 204)
        self.assertDatabaseHas(Book, isbn=DISPOSSESSED, stock=8)

    def test_delivery_with_unknown_book_is_undone(self):
        response = self.client.post("/deliveries", json={DISPOSSESSED: 5, KINDRED: 5})
        self.assertEqual(response.status_code, 404)
        self.assertDatabaseHas(Book, isbn=DISPOSSESSED, stock=3)

    def add_book(self, isbn, title, author):
        return self.client.post("/books", json={"isbn": isbn, "title": title, "author": author})
