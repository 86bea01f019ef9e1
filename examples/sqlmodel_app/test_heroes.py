"""The tests of SQLModel's tutorial, without a StaticPool and with real commits."""

from fastapi.testclient import TestClient
from sqlmodel import Session, SQLModel, select

import heroes
from dbtestcase import DatabaseTestCase
from heroes import Hero, Team


class HeroesTestCase(DatabaseTestCase):
    metadata = SQLModel.metadata
    engines = [heroes.engine]
    session_class = Session

    @classmethod
    def setUpTestData(cls, session):
        cls.team = Team(name="Preventers")
        cls.hero = Hero(name="Rusty-Man", age=48, team=cls.team)
        session.add(cls.hero)

    def setUp(self):
        super().setUp()
        self.client = TestClient(heroes.app)


class HeroTests(HeroesTestCase):
    def test_create(self):
        response = self.client.post("/heroes", json={"name": "Deadpond"})
        self.assertEqual(response.json()["name"], "Deadpond")
        self.assertDatabaseHas(Hero, id=response.json()["id"], name="Deadpond", age=None)

    def test_create_invalid(self):
        response = self.client.post("/heroes", json={"name": {"nothing": "like it"}})
        self.assertEqual(response.status_code, 422)
        self.assertDatabaseCount(Hero, 1)

    def test_read(self):
        self.session.add(Hero(name="Deadpond"))
        self.session.commit()
        names = [hero["name"] for hero in self.client.get("/heroes").json()]
        self.assertEqual(names, ["Deadpond", "Rusty-Man"])

    def test_update(self):
        response = self.client.patch(f"/heroes/{self.hero.id}", json={"age": 49})
        self.assertEqual(response.status_code, 200)
        self.assertDatabaseHas(Hero, name="Rusty-Man", age=49, team=self.team)

    def test_update_unknown(self):
        self.assertEqual(self.client.patch("/heroes/0", json={"age": 49}).status_code, 404)


class TeamTests(HeroesTestCase):
    def test_delete_keeps_heroes(self):
        response = self.client.delete(f"/teams/{self.team.id}")
        self.assertEqual(response.status_code, 204)
        self.assertDatabaseEmpty(Team)
        self.assertDatabaseHas(Hero, name="Rusty-Man", team_id=None)
        self.session.expire_all()
        self.assertIsNone(self.session.exec(select(Hero)).one().team)


class OverriddenTests(HeroesTestCase):
    """For those who would rather give the application the session of the test."""

    def setUp(self):
        super().setUp()
        self.override_dependency(heroes.app, heroes.get_session, self.session)

    def test_create(self):
        self.client.post("/heroes", json={"name": "Deadpond"})
        self.assertEqual([hero.name for hero in self.session.exec(select(Hero))][1:], ["Deadpond"])
