"""One test: ``python -m benchmarks.first_test sqlite://|pgserver://|…|py-pglite``."""

from __future__ import annotations

import sys
import unittest
from typing import Any

from .models import Base, work


def _ours(url: str) -> type[unittest.TestCase]:
    from dbtestcase import DatabaseTestCase

    class Ours(DatabaseTestCase):
        database = url
        metadata = Base.metadata

        def test(self) -> None:
            work(self.session)
            print("first test done", flush=True)

    return Ours


def _py_pglite() -> type[unittest.TestCase]:
    from py_pglite.sqlalchemy import SQLAlchemyPGliteManager
    from sqlalchemy.orm import Session

    class Manager(SQLAlchemyPGliteManager):
        def _kill_all_pglite_processes(self) -> None:
            """Leave alone what others have started."""

    class PyPGlite(unittest.TestCase):
        engine: Any

        @classmethod
        def setUpClass(cls) -> None:
            manager = cls.enterClassContext(Manager())
            manager.wait_for_ready()
            cls.engine = manager.get_engine()
            Base.metadata.create_all(cls.engine)

        def test(self) -> None:
            with Session(self.engine) as session:
                work(session)
            print("first test done", flush=True)

    return PyPGlite


def main(kind: str) -> None:
    case = _py_pglite() if kind == "py-pglite" else _ours(kind)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    result = unittest.TextTestRunner().run(suite)
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main(sys.argv[1])
