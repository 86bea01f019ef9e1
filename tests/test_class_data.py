"""Class data: each test's own, attached to its session, related as it was."""

from __future__ import annotations

import unittest
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from dbtestcase import DatabaseTestCase

from . import inner
from .models import Base, Post, Tag, User, app_engine


class Inner(DatabaseTestCase):
    metadata = Base.metadata
    engines = [app_engine]


class ClassData(unittest.TestCase):
    def test_containers_and_plain_values(self) -> None:
        class Data(Inner):
            kept = "as it was"

            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.users = [User(name="alice"), User(name="bob")]
                cls.by_name = {user.name: user for user in cls.users}
                cls.nested = {"pair": (cls.users[0], 1)}
                cls.plain = ["a"]
                cls.number = 42
                session.add_all(cls.users)

            def test_one(self) -> None:
                self.assertIs(self.by_name["bob"], self.users[1])
                self.assertIs(self.nested["pair"][0], self.users[0])
                self.assertEqual((self.plain, self.number, self.kept), (["a"], 42, "as it was"))
                self.plain.append("b")
                self.users.pop()
                self.by_name.clear()
                self.users = "an attribute like any other"

            test_two = test_one

        inner.passed(self, inner.run(Data), 2)
        self.assertFalse(hasattr(Data, "users"))
        self.assertEqual(Data.kept, "as it was")

    def test_what_the_application_made(self) -> None:
        class Data(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                with Session(app_engine, expire_on_commit=False) as own:
                    cls.detached = User(name="alice")
                    own.add(cls.detached)
                    own.commit()

            def test(self) -> None:
                self.assertIn(self.detached, self.session)
                self.assertEqual(self.detached.name, "alice")

        inner.passed(self, inner.run(Data), 1)

    def test_the_class_keeps_the_object_that_was_put_there(self) -> None:
        class Data(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice = User(name="alice", posts=[Post(title="one")])
                session.add(cls.alice)

            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                cls.title = cls.alice.posts[0].title

            def test(self) -> None:
                self.assertEqual(self.title, "one")
                self.assertIsNot(type(self).alice, self.alice)

        inner.passed(self, inner.run(Data), 1)

    def test_values_are_those_of_the_database(self) -> None:
        class Data(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice = User(name="alice")
                session.add(cls.alice)
                session.flush()
                session.execute(text("UPDATE users SET age = 7"))

            def test(self) -> None:
                with self.assertNumQueries(0):
                    self.assertEqual(self.alice.age, 7)

        inner.passed(self, inner.run(Data), 1)

    def test_relationships_need_no_query(self) -> None:
        class Data(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                alice = User(name="alice")
                session.add(alice)
                session.commit()
                cls.post = Post(title="one", author=alice)
                session.add(cls.post)

            def test(self) -> None:
                with self.assertNumQueries(0):
                    self.assertEqual(self.post.author.name, "alice")
                    self.assertIs(self.post.author.posts[0], self.post)

        inner.passed(self, inner.run(Data), 1)

    def test_object_asked_for_late_is_as_if_it_had_been_loaded_first(self) -> None:
        class Data(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.alice = User(name="alice")
                session.add(cls.alice)

            def test(self) -> None:
                with Session(app_engine) as own:
                    own.execute(update(User).values(name="renamed"))
                    own.commit()
                self.session.commit()
                self.assertEqual(self.alice.name, "renamed")

        inner.passed(self, inner.run(Data), 1)

    def test_refused_without_a_row(self) -> None:
        def never_added(cls: Any, session: Session) -> None:
            cls.users = [User(name="alice")]

        def deleted(cls: Any, session: Session) -> None:
            cls.users = [User(name="alice")]
            session.add_all(cls.users)
            session.flush()
            session.delete(cls.users[0])

        for hook in (never_added, deleted):
            with self.subTest(hook.__name__):

                class Data(Inner):
                    setUpTestData = classmethod(hook)

                    def test(self) -> None: ...

                message = inner.only_error(self, inner.run(Data))
                self.assertIn("ClassDataError", message)
                self.assertIn("Data.users holds a User that has no row", message)
                self.assertIn("add it to the session in setUpTestData", message)

    def test_values_changed_in_place_reach_no_other_test(self) -> None:
        class Data(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.tag = Tag(word="red", more={"list": [1]})
                session.add(cls.tag)

            def test_one(self) -> None:
                self.assertEqual(self.tag.more, {"list": [1]})
                self.tag.more["list"].append(2)
                self.tag.more["new"] = True
                self.session.commit()
                self.assertEqual(self.tag.more, {"list": [1, 2], "new": True})

            test_two = test_one

        inner.passed(self, inner.run(Data), 2)

    def test_inherited_hook_runs_for_each_class(self) -> None:
        class First(Inner):
            @classmethod
            def setUpTestData(cls, session: Session) -> None:
                cls.user = User(name=cls.__name__)
                session.add(cls.user)

            def test(self) -> None:
                self.assertEqual(self.user.name, type(self).__name__)
                self.assertDatabaseCount(User, 1)

        class Second(First):
            pass

        for _ in range(3):
            inner.passed(self, inner.run(First, Second, shuffled=True), 2)
