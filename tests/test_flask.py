"""Flask applications: their extensions, contexts and factories, and what old suites do."""

from __future__ import annotations

import asyncio
import unittest
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import flask_migrate
import flask_sqlalchemy
import flask_sqlalchemy_lite
from flask import Flask
from sqlalchemy import String, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase, MigrationTestCase

from . import inner
from .servers import MYSQL, POSTGRESQL, needs_mysql, needs_postgresql

UNREACHABLE = "sqlite:////unreachable/application.db"


class Base(DeclarativeBase):
    pass


db = flask_sqlalchemy.SQLAlchemy(model_class=Base)
migrate = flask_migrate.Migrate(db=db)
lite = flask_sqlalchemy_lite.SQLAlchemy()


class User(db.Model):  # type: ignore[name-defined]
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = UNREACHABLE
    db.init_app(app)
    migrate.init_app(app)

    @app.post("/users/<name>")
    def add(name: str) -> str:
        db.session.add(User(name=name))
        db.session.commit()
        return name

    @app.post("/forgotten/<name>")
    def forget(name: str) -> str:
        db.session.add(User(name=name))
        db.session.flush()
        return name

    return app


def create_lite_app() -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_ENGINES"] = {"default": UNREACHABLE}
    async_url = UNREACHABLE.replace("sqlite", "sqlite+aiosqlite")
    app.config["SQLALCHEMY_ASYNC_ENGINES"] = {"default": async_url}
    lite.init_app(app)

    @app.post("/users/<name>")
    def add(name: str) -> str:
        lite.session.add(User(name=name))
        lite.session.commit()
        return name

    return app


def engines_of(app: Flask) -> list[Any]:
    with app.app_context():
        if app.extensions["sqlalchemy"] is lite:
            return [*lite.engines.values(), *lite.async_engines.values()]
        return list(db.engines.values())


class FlaskSQLAlchemy(unittest.TestCase):
    def test_application_made_in_each_test(self) -> None:
        class Inner(DatabaseTestCase):
            metadata = Base.metadata

            def setUp(self) -> None:
                super().setUp()
                self.app = create_app()
                self.redirect_engines(*engines_of(self.app))

            def test(self) -> None:
                self.app.test_client().post("/users/bob")
                self.assertDatabaseHas(User, name="bob")
                self.assertDatabaseCount(User, 1)

            test_again = test

            def test_forgotten_commit(self) -> None:
                self.app.test_client().post("/forgotten/bob")
                self.assertDatabaseEmpty()

        inner.passed(self, inner.run(Inner), 3)

    def test_application_made_in_each_class(self) -> None:
        class Inner(DatabaseTestCase):
            metadata = Base.metadata

            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                cls.app = create_app()
                cls.redirect_engines(lambda: engines_of(cls.app))

            def test(self) -> None:
                self.app.test_client().post("/users/bob")
                self.assertDatabaseCount(User, 1)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)
        [engine] = engines_of(Inner.app)
        self.assertNotIn("dbtestcase", type(engine.pool).__module__)
        with self.assertRaisesRegex(Exception, "unable to open database file"):
            engine.connect()

    def test_context_of_the_whole_test(self) -> None:
        app = create_app()

        class Inner(DatabaseTestCase):
            """As Flask-Testing does it."""

            metadata = Base.metadata
            engines = [lambda: engines_of(app)]

            def setUp(self) -> None:
                super().setUp()
                self.enterContext(app.test_request_context())

            def test(self) -> None:
                db.session.add(User(name="carl"))
                db.session.commit()
                app.test_client().post("/users/bob")
                names = db.session.scalars(select(User.name).order_by(User.name)).all()
                self.assertEqual(names, ["bob", "carl"])

            test_again = test

            def test_leaving_it_undoes(self) -> None:
                with app.app_context():
                    db.session.add(User(name="carl"))
                    db.session.flush()
                self.assertEqual(db.session.query(User).count(), 0)

        inner.passed(self, inner.run(Inner), 3)

    def test_session_shared_with_the_test(self) -> None:
        app = create_app()

        class Inner(DatabaseTestCase):
            metadata = Base.metadata
            session_factories = [db.session]

            @classmethod
            def setUpTestData(cls, session: Any) -> None:
                cls.alice = User(name="alice")
                db.session.add(cls.alice)

            def test(self) -> None:
                self.assertIs(db.session(), self.session)
                self.assertEqual(User.query.count(), 1)
                app.test_client().post("/forgotten/bob")
                self.assertIn(self.alice, db.session)
                with app.app_context():
                    self.assertEqual(User.query.count(), 2)
                    page = db.paginate(select(User).order_by(User.id))
                    self.assertEqual([user.name for user in page], ["alice", "bob"])

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

    def legacy(self, database_url: str) -> unittest.TestResult:
        """Run a suite that makes and drops its tables in each test, as old ones do."""
        app = create_app()

        class Inner(DatabaseTestCase):
            database = database_url
            metadata = Base.metadata
            engines = [lambda: engines_of(app)]

            def setUp(self) -> None:
                super().setUp()
                self.enterContext(app.app_context())
                db.create_all()

            def tearDown(self) -> None:
                db.session.remove()
                db.drop_all()
                super().tearDown()

            def test(self) -> None:
                db.session.add(User(name="bob"))
                db.session.commit()
                self.assertDatabaseCount(User, 1)

            test_again = test

        return inner.run(Inner)

    def test_create_all_and_drop_all_do_no_harm(self) -> None:
        inner.passed(self, self.legacy("sqlite://"), 2)

    def test_create_all_and_drop_all_do_no_harm_on_postgresql(self) -> None:
        inner.passed(self, self.legacy("pgserver://"), 2)

    @needs_mysql
    def test_drop_all_is_explained_where_it_would_commit(self) -> None:
        result = self.legacy(MYSQL)
        self.assertEqual(len(result.errors), 2)
        for _, text in result.errors:
            self.assertIn("DROP TABLE users", text)
            self.assertIn("leave it out: what a test did is undone anyway", text)

    def test_tables_made_by_the_tests_themselves(self) -> None:
        app = create_app()

        class Inner(DatabaseTestCase):
            engines = [lambda: engines_of(app)]

            def setUp(self) -> None:
                super().setUp()
                with app.app_context():
                    db.create_all()

            def test(self) -> None:
                app.test_client().post("/users/bob")
                self.assertDatabaseCount(User, 1)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)


class FlaskMigrate(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "'get_engine' is deprecated")  # by Flask-Migrate's env.py
        self.app = create_app()
        self.migrations = str(write_migrations(self.enterContext(inner.directory())))

    def in_context(self, case: Any) -> Any:
        """Return a subclass of ``case`` whose schema is made in a context of the application."""
        app = self.app

        class Inner(case):  # type: ignore[misc]
            migrations = self.migrations
            engines = [lambda: engines_of(app)]

            @classmethod
            def setUpDatabase(cls, connection: Connection) -> None:
                with app.app_context():
                    super().setUpDatabase(connection)

        return Inner

    def check(self, database_url: str) -> None:
        app = self.app

        class Sync(self.in_context(DatabaseTestCase)):  # type: ignore[misc]
            database = database_url

            def test(self) -> None:
                app.test_client().post("/users/bob")
                self.assertDatabaseCount(User, 1)
                with app.app_context():
                    self.assertSchemaMatchesModels()

            test_again = test

        class Truncation(Sync):
            isolation = "truncation"

        class Async(self.in_context(AsyncDatabaseTestCase)):  # type: ignore[misc]
            database = database_url

            async def test(self) -> None:
                await asyncio.to_thread(app.test_client().post, "/users/bob")
                await self.assertDatabaseCount(User, 1)
                with app.app_context():
                    await self.assertSchemaMatchesModels()

        class Revisions(MigrationTestCase):
            database = database_url
            migrations = self.migrations

            def setUp(self) -> None:
                super().setUp()
                self.enterContext(app.app_context())

        tests = unittest.defaultTestLoader.loadTestsFromTestCase(Revisions).countTestCases()
        inner.passed(self, inner.run(Sync, Truncation, Async, Revisions), 5 + tests)

    def test_generated_env_py(self) -> None:
        self.check("sqlite://")

    def test_generated_env_py_on_pgserver(self) -> None:
        self.check("pgserver://")

    @needs_postgresql
    def test_generated_env_py_on_postgresql(self) -> None:
        self.check(POSTGRESQL)

    @needs_mysql
    def test_generated_env_py_on_mysql(self) -> None:
        self.check(MYSQL)

    def test_without_a_context(self) -> None:
        Path(self.migrations, "versions", "two.py").write_text(
            "revision, down_revision = 'two', 'one'\ndef upgrade(): ...\n"  # made by no other test
        )

        class Inner(DatabaseTestCase):
            migrations = self.migrations

            def test(self) -> None: ...

        error = inner.only_error(self, inner.run(Inner))
        self.assertRegex(error, r'Raised by env.py, at\nFile ".*env.py", line \d+, in get_engine')
        self.assertIn("with app.app_context(): super().setUpDatabase(connection)", error)

    @mock.patch("logging.config.fileConfig")
    def test_upgrade_in_the_set_up_of_the_class(self, logging: object) -> None:
        app, migrations = self.app, self.migrations

        class Inner(DatabaseTestCase):
            engines = [lambda: engines_of(app)]

            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                with app.app_context():
                    flask_migrate.upgrade(migrations)

            def test(self) -> None:
                self.assertIn("users", inspect(self.connection).get_table_names())
                app.test_client().post("/users/bob")
                self.assertDatabaseCount(User, 1)

            test_again = test

        inner.passed(self, inner.run(Inner), 2)

        class After(DatabaseTestCase):
            def test(self) -> None:
                self.assertEqual(inspect(self.connection).get_table_names(), [])

        inner.passed(self, inner.run(After), 1)


def write_migrations(directory: Path) -> Path:
    """Write what ``flask db init`` and ``flask db revision`` do, and return where it is."""
    app = create_app()
    migrations = directory / "migrations"
    with app.app_context(), redirect_stdout(StringIO()):
        flask_migrate.init(str(migrations))
    (migrations / "versions" / "one.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        "revision, down_revision = 'one', None\n"
        "def upgrade():\n"
        "    op.create_table(\n"
        "        'users',\n"
        "        sa.Column('id', sa.Integer, primary_key=True),\n"
        "        sa.Column('name', sa.String(50), nullable=False),\n"
        "    )\n"
        "def downgrade():\n"
        "    op.drop_table('users')\n"
    )
    return migrations
