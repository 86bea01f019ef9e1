"""A suite that notes which process worked in which database; test_runners runs copies of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, insert, text

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase
from dbtestcase.backends import backend_for

rows = Table("rows", MetaData(), Column("id", Integer, primary_key=True))


URL = os.environ["DBTESTCASE_DATABASE"]
KIND = URL.partition(":")[0]
QUERIES = {
    "mariadb": "SELECT database()",
    "mysql": "SELECT database()",
    "sqlite": "SELECT file FROM pragma_database_list WHERE name = 'main'",
}
COMMITTING = "transaction" if KIND == "pglite" else "truncation"
QUERY = text(QUERIES.get(KIND, "SELECT current_database()"))


def note(database: Any) -> None:
    """Note that this process uses ``database``, and wait for the others, lest one does it all."""
    if KIND == "pglite":  # which has one, called postgres, in each server
        server: Any = backend_for(URL)
        database = server.server.socket_directory
    notes = Path(os.environ["NOTES"])
    Path(notes, f"{os.getpid()} {str(database).replace('/', ':')}").touch()
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if len({path.name.split()[0] for path in notes.iterdir()}) >= int(os.environ["PROCESSES"]):
            break
        time.sleep(0.01)


class SyncTests(DatabaseTestCase):
    metadata = rows.metadata

    def test_1(self) -> None:
        self.session.execute(insert(rows).values(id=1))
        self.session.commit()
        self.assertDatabaseCount(rows, 1)
        note(self.session.scalar(QUERY))

    test_2 = test_1


class TruncationTests(SyncTests):
    isolation = COMMITTING


class AsyncTests(AsyncDatabaseTestCase):
    metadata = rows.metadata

    async def test_1(self) -> None:
        await self.session.execute(insert(rows).values(id=1))
        await self.session.commit()
        await self.assertDatabaseCount(rows, 1)
        note(await self.session.scalar(QUERY))

    test_2 = test_1


class AsyncTruncationTests(AsyncTests):
    isolation = COMMITTING
