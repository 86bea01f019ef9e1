"""Async routes through httpx, with the application's lifespan, in one event loop for the class."""

import httpx

from dbtestcase import AsyncDatabaseTestCase
from notes.app import app
from notes.models import BannedWord, Base, Note, Reading, Tag


class NotesTestCase(AsyncDatabaseTestCase):
    metadata = Base.metadata
    session_factories = ["notes.db:SessionLocal"]

    @classmethod
    async def asyncSetUpTestData(cls, session):
        cls.note = Note(text="Buy milk", tags=[Tag(word="shop"), Tag(word="food")])
        session.add_all([cls.note, BannedWord(word="darn")])

    @classmethod
    async def asyncSetUpClass(cls):
        await cls.enterAsyncClassContext(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url="http://notes")
        cls.client = await cls.enterAsyncClassContext(client)


class WritingTests(NotesTestCase):
    async def test_adds_note(self):
        response = await self.client.post("/notes", json={"text": "Call Ann", "tags": ["phone"]})
        self.assertEqual(response.status_code, 201)
        await self.assertDatabaseHas(Note, id=response.json(), text="Call Ann")
        await self.assertDatabaseHas(Tag, note_id=response.json(), word="phone")

    async def test_note_that_is_refused_is_undone(self):
        response = await self.client.post("/notes", json={"text": "darn socks"})
        self.assertEqual(response.status_code, 422)
        await self.assertDatabaseCount(Note, 1)


class ReadingTests(NotesTestCase):
    async def test_reads_note_and_counts_that(self):
        for _ in range(2):
            response = await self.client.get(f"/notes/{self.note.id}")
            self.assertEqual(response.json(), {"text": "Buy milk", "tags": ["food", "shop"]})
        await self.assertDatabaseHas(Reading, note_id=self.note.id, count=2)

    async def test_unknown_note_is_not_found(self):
        response = await self.client.get("/notes/0")
        self.assertEqual(response.status_code, 404)

    async def test_counts_at_once(self):
        with self.assertNumQueries(2):
            response = await self.client.get("/numbers")
        self.assertEqual(response.json(), {"notes": 1, "tags": 2})

    async def test_sees_what_the_test_commits(self):
        self.note.text = "Buy bread"
        await self.session.commit()
        response = await self.client.get(f"/notes/{self.note.id}")
        self.assertEqual(response.json()["text"], "Buy bread")
