"""That the examples in docs/frameworks.rst run, beside applications as they suppose them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

from . import inner
from .test_flask import write_migrations
from .test_package import code_blocks

ROOT = Path(__file__).parent.parent
EXAMPLES = code_blocks((ROOT / "docs" / "frameworks.rst").read_text())


class Page(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = self.enterContext(inner.directory())
        (self.directory / "app").mkdir()
        (self.directory / "app" / "db.py").write_text(_DB)
        (self.directory / "app" / "main.py").write_text(_MAIN)

    def passes(self, code: str, tests: int, directory: Path | None = None) -> None:
        """Run ``code`` beside an application, and check that so many tests of it pass."""
        ran = subprocess.run(
            [*_PYTHON, "-c", f"import unittest\n{code}\nunittest.main()"],
            cwd=directory or self.directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), "."])},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn(f"Ran {tests} test", ran.stderr)

    def passes_in_class(self, methods: str) -> None:
        """Run ``methods`` as those of a test case that knows the application."""
        self.passes(f"{_IMPORTS}\n{_CLASS}{textwrap.indent(methods, '    ')}", tests=1)

    def test_all_examples_are_run_here(self) -> None:
        self.assertEqual(len(EXAMPLES), 5)

    def test_fastapi(self) -> None:
        self.passes(EXAMPLES[0], tests=2)

    def test_engine_that_a_lifespan_makes(self) -> None:
        main = self.directory / "app" / "main.py"
        main.write_text(f"{_CONNECT}{_MAIN.replace('db.async_engine', 'connect()')}")
        self.passes_in_class(f"{EXAMPLES[1]}\n{_TEST}")

    def test_overridden_dependency(self) -> None:
        self.passes_in_class(f"{_SET_UP}\n{EXAMPLES[2]}\n    {_CHECK}")

    def test_flask(self) -> None:
        self.passes(EXAMPLES[3], tests=1, directory=ROOT / "examples" / "flask_app")

    def test_flask_migrate(self) -> None:
        write_migrations(self.directory)
        self.passes(f"{_MIGRATED_APP}\n{EXAMPLES[4]}\n{textwrap.indent(_POST, '    ')}", tests=1)


# Flask-Migrate's env.py tries what Flask-SQLAlchemy has deprecated.
_PYTHON = [sys.executable, "-W", "error", "-W", "ignore:'get_engine' is deprecated"]

_DB = """
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_engine("sqlite:////unreachable/application.db")
async_engine = create_async_engine("sqlite+aiosqlite:////unreachable/application.db")

class Base(DeclarativeBase):
    pass

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
"""

_MAIN = """
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from . import db

def get_db():
    with Session(db.engine) as session:
        yield session

@asynccontextmanager
async def lifespan(app):
    async with AsyncSession(db.async_engine) as session:
        session.add(db.User(name="made at the start"))
        await session.commit()
    yield

app = FastAPI(lifespan=lifespan)

@app.post("/users")
def add(name: Annotated[str, Body(embed=True)], session: Annotated[Session, Depends(get_db)]):
    session.add(db.User(name=name))
    session.commit()
"""

_CONNECT = """
def connect():
    return db.create_async_engine("sqlite+aiosqlite:////unreachable/application.db")
"""

_IMPORTS = """
from unittest import mock
from app import main
from app.db import Base, User
from app.main import app, get_db
from dbtestcase import DatabaseTestCase
from fastapi.testclient import TestClient
connect = getattr(main, "connect", None)
"""

_CLASS = """
class Tests(DatabaseTestCase):
    metadata = Base.metadata
"""

_TEST = """
def test(self):
    self.assertDatabaseHas(User, name="made at the start")
"""

_SET_UP = """
def setUp(self):
    super().setUp()
    self.client = TestClient(app)
"""

_CHECK = 'self.assertDatabaseHas(User, name="bob")'

_MIGRATED_APP = """
from dbtestcase import DatabaseTestCase
from tests.test_flask import User, create_app, engines_of

app = create_app()
engines_of_app = lambda: engines_of(app)
"""

_POST = """
def test(self):
    app.test_client().post("/users/bob")
    self.assertDatabaseHas(User, name="bob")
"""
