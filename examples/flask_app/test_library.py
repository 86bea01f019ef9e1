"""A Flask application, tested through its test client and within its contexts."""

from dbtestcase import DatabaseTestCase
from library import create_app
from library.models import Book, Lending, Loan, db

app = create_app(TESTING=True)


def engines_of_app():
    with app.app_context():
        return list(db.engines.values())


class LibraryTestCase(DatabaseTestCase):
    metadata = list(db.metadatas.values())
    engines = engines_of_app

    @classmethod
    def setUpTestData(cls, session):
        cls.book = Book(title="Middlemarch")
        session.add_all([cls.book, Book(title="Emma")])

    def setUp(self):
        super().setUp()
        self.client = app.test_client()


class RequestTests(LibraryTestCase):
    def test_lists_books(self):
        with self.assertNumQueries(1):
            books = self.client.get("/books").get_json()
        self.assertEqual([book["title"] for book in books], ["Emma", "Middlemarch"])

    def test_lends_a_book(self):
        response = self.lend()
        self.assertEqual(response.status_code, 204)
        self.assertDatabaseHas(Loan, book=self.book, reader="Dorothea")
        self.assertDatabaseHas(Lending, title="Middlemarch")

    def test_lends_a_book_once(self):
        self.lend()
        self.assertEqual(self.lend(reader="Will").status_code, 409)
        self.assertDatabaseCount(Loan, 1)
        self.assertDatabaseCount(Lending, 1)

    def test_takes_a_book_back(self):
        self.session.add(Loan(book=self.book, reader="Dorothea"))
        self.session.commit()
        response = self.client.delete(f"/books/{self.book.id}/loan")
        self.assertEqual(response.status_code, 204)
        self.assertDatabaseEmpty(exclude=[Book])

    def test_unknown_book_is_not_found(self):
        self.assertEqual(self.client.post("/books/0/loan").status_code, 404)

    def lend(self, reader="Dorothea"):
        return self.client.post(f"/books/{self.book.id}/loan", data={"reader": reader})


class SessionTests(LibraryTestCase):
    def test_session_of_the_application_commits(self):
        with app.app_context():
            db.session.add(Book(title="Persuasion"))
            db.session.commit()
        self.assertDatabaseHas(Book, title="Persuasion")

    def test_session_ends_with_its_context(self):
        with app.app_context():
            db.session.add(Book(title="Persuasion"))
            db.session.flush()
        self.assertDatabaseMissing(Book, title="Persuasion")

    def test_context_around_requests(self):
        with app.app_context():
            book = db.session.scalars(db.select(Book).filter_by(title="Emma")).one()
            self.client.post(f"/books/{book.id}/loan", data={"reader": "Will"})
            db.session.refresh(book)
            self.assertEqual(book.loan.reader, "Will")
