"""Assertions about rows of mapped classes of every shape, and of several databases."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    func,
    insert,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, synonym

from dbtestcase import Changes, DatabaseTestCase, UsageError, match


class Base(DeclarativeBase):
    pass


class Animal(Base):
    __tablename__ = "animals"
    id: Mapped[int] = mapped_column("animal_id", primary_key=True)
    called: Mapped[str] = mapped_column("name")
    title: Mapped[str] = synonym("called")
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Cat(Animal):
    """In the same table."""

    removed: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "cat"}


class Dog(Animal):
    """In a table of its own, joined."""

    __tablename__ = "dogs"
    id: Mapped[int] = mapped_column(ForeignKey("animals.animal_id"), primary_key=True)
    bark: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "dog"}


class Walk(Base):
    __tablename__ = "walks"
    dog_id: Mapped[int] = mapped_column(ForeignKey("dogs.id"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime | None]
    dog: Mapped[Dog] = relationship()


class MappedRows(DatabaseTestCase):
    metadata = Base.metadata

    @classmethod
    def setUpTestData(cls, session):
        cls.cat = Cat(id=1, called="tom")
        cls.dog = Dog(id=2, called="rex", bark="woof")
        session.add_all([cls.cat, cls.dog])
        session.flush()
        cls.walk = Walk(dog_id=2, day=7)
        session.add(cls.walk)

    def failure(self, assertion, *args, **kwargs):
        with self.assertRaises(AssertionError) as raised:
            assertion(*args, **kwargs)
        return str(raised.exception)

    def test_attributes_of_other_names_than_their_columns(self) -> None:
        self.assertDatabaseHas(Animal, called="tom")
        self.assertDatabaseHas(Animal, title="tom")
        self.assertDatabaseHas("animals", name="tom")
        self.assertIn(
            "id=1, called='tom' (not 'tim'), kind='cat'",
            self.failure(self.assertDatabaseHas, Cat, called="tim"),
        )
        self.assertIn("not 'tim'", self.failure(self.assertDatabaseHas, Animal, title="tim"))

    def test_classes_of_one_table(self) -> None:
        self.assertDatabaseCount(Animal, 2)
        self.assertDatabaseCount(Cat, 1)
        self.assertEqual(
            self.failure(self.assertDatabaseMissing, Cat),
            "1 row in animals, expected none:\n    id=1, called='tom', kind='cat', removed=None",
        )
        self.assertEqual(
            self.failure(self.assertDatabaseHas, Cat, called="rex").splitlines(),
            [
                "No row with called = 'rex' in animals, which has 1 row; the nearest:",
                "    id=1, called='tom' (not 'rex'), kind='cat', removed=None",
            ],
        )

    def test_classes_of_joined_tables(self) -> None:
        self.assertDatabaseHas(Dog, called="rex", bark="woof")
        self.assertModelExists(self.dog)
        self.assertEqual(
            self.failure(self.assertDatabaseHas, Dog, called="rex", bark="miaow").splitlines()[1],
            "    id=2, called='rex', kind='dog', bark='woof' (not 'miaow')",
        )
        with self.assertDatabaseChanges({Dog: +1, Animal: +1}):
            self.session.add(Dog(called="ace", bark="wuff"))
            self.session.commit()

    def test_conditions_about_joined_tables(self) -> None:
        self.assertDatabaseHas(Dog, Animal.called == "rex", Dog.called == "rex", Dog.bark == "woof")
        self.assertDatabaseHas(Cat, Animal.called == "tom", Cat.called == "tom")
        self.assertDatabaseHas(Walk, Walk.dog.has(Dog.called == "rex"))
        for target, condition, message in (
            (Dog, Walk.day == 7, "walks.day = 7 is about walks too, .* only about rows of dogs\n"),
            (Animal, Dog.bark == "woof", "about dogs too, .* only about rows of animals\n"),
        ):
            with self.assertRaisesRegex(UsageError, message):
                self.assertDatabaseHas(target, condition)

    def test_conditions_that_call_a_function_for_each_row(self) -> None:
        array = func.json_array(Animal.called)
        names = func.json_each(array).table_valued("value", joins_implicitly=True)
        self.assertDatabaseCount(Animal, 1, names.c.value == "rex")

    def test_composite_keys_and_relationships(self) -> None:
        self.assertModelExists(self.walk)
        self.assertDatabaseHas(Walk, dog=self.dog)
        self.assertIn(
            "Walk with dog_id = 2 and day = 7 is still in walks",
            self.failure(self.assertModelMissing, self.walk),
        )
        self.assertModelMissing(Walk(dog_id=2, day=8))
        other = Dog(id=3, called="ace", bark="wuff")
        self.session.add(other)
        self.session.flush()
        self.assertIn(
            "dog_id=2, day=7, at=None, dog not <Dog 3>",
            self.failure(self.assertDatabaseHas, Walk, dog=other),
        )

    def test_soft_deletion_by_number(self) -> None:
        self.assertNotSoftDeleted(self.cat, column="removed")
        self.cat.removed = 0
        self.session.commit()
        self.assertNotSoftDeleted(self.cat, column="removed")
        self.cat.removed = 1
        self.session.commit()
        self.assertSoftDeleted(self.cat, column="removed")

    def test_keys_that_were_set_and_never_flushed(self) -> None:
        self.assertModelExists(Cat(id=1))
        self.assertModelMissing(Cat(id=3))


class WideTable(DatabaseTestCase):
    metadata = MetaData()
    wide = Table("wide", metadata, *(Column(f"c{number}", Integer) for number in range(40)))

    def test_columns_that_are_asked_about_are_shown_first(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(self.wide).values(c0=1, c30=2))
        with self.assertRaises(AssertionError) as raised:
            self.assertDatabaseHas("wide", c30=3)
        line = str(raised.exception).splitlines()[1]
        self.assertIn("c0=1, c1=None", line)
        self.assertIn("c30=2 (not 3), … and 28 more columns", line)
        with (
            self.assertRaises(AssertionError) as raised,
            self.assertDatabaseChanges({}),
            self.engine.begin() as connection,
        ):
            connection.execute(insert(self.wide).values(c0=1))
        self.assertIn("… and 28 more columns", str(raised.exception))


class Events(DeclarativeBase):
    pass


class Event(Events):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(String(50), unique=True, index=True)
    is_deleted: Mapped[bool] = mapped_column(default=False)


analytics = create_engine("sqlite:////unreachable/analytics.db")


class SeveralDatabases(DatabaseTestCase):
    databases = {
        "default": {"metadata": Base.metadata},
        "analytics": {"metadata": Events.metadata, "engines": [analytics]},
    }

    def write(self, *what: str) -> None:
        with analytics.begin() as connection:
            for one in what:
                connection.execute(insert(Event).values(what=one, is_deleted=False))

    def test_changes_of_all(self) -> None:
        with self.assertDatabaseChanges({Event: +1, Cat: +1}):
            self.write("opened")
            self.session.add(Cat(called="tom"))
            self.session.commit()
        with self.assertRaises(AssertionError) as raised, self.assertDatabaseChanges({}):
            self.write("closed")
        self.assertEqual(
            str(raised.exception).splitlines()[1],
            "  events (analytics): 1 inserted, expected no change",
        )
        with self.assertDatabaseChanges({}, exclude=["events"]):
            self.write("opened again")
        with self.assertDatabaseChanges({"events": +1}, using="analytics"):
            self.write("and again")
            self.session.add(Cat(called="kit"))
            self.session.commit()

    def test_constraint_of_another(self) -> None:
        with self.assertConstraintViolated("events.what"):
            self.write("opened", "opened")
        with self.assertRaises(AssertionError), self.assertConstraintViolated("dogs.bark"):
            self.write("opened", "opened")

    def test_the_rest(self) -> None:
        self.write("opened")
        event = self.session.get(Event, 1)
        self.assertModelExists(event)
        self.assertNotSoftDeleted(event)
        self.assertIndexUsed("ix_events_what", Event.__table__.select().where(Event.what == "x"))
        self.assertIndexUsed(
            "ix_events_what", "SELECT 1 FROM events WHERE what = ''", using="analytics"
        )
        with analytics.connect() as connection:
            connection.execute(insert(Event).values(what="closed", is_deleted=False))
            with self.assertRaises(AssertionError):
                self.assertCommitted()

    def test_wrong_use(self) -> None:
        message = "there is no database 'analytic'; did you mean"
        with (
            self.assertRaisesRegex(UsageError, message),
            self.assertDatabaseChanges({}, using="analytic"),
        ):
            pass
        with self.assertRaisesRegex(UsageError, message):
            self.assertIndexUsed("ix_events_what", "SELECT 1", using="analytic")
        self.assertEqual(str(Changes(1, 2)), "1 inserted, 2 updated")
        self.assertEqual(repr(match([1])), "match([1])")
