"""A suite that notes which process worked in which database; test_runners runs copies of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, insert, text

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

rows = Table("rows", MetaData(), Column("id", Integer, primary_key=True))


database = os.environ["DBTESTCASE_DATABASE"].partition(":")[0]
QUERY = text("SELECT current_database()" if database.startswith("p") else "SELECT database()")


def note(database: Any) -> None:
    """Note that this process uses ``database``, and wait for the others, lest one does it all."""
    notes = Path(os.environ["NOTES"])
    Path(notes, f"{os.getpid()} {database}").touch()
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
    isolation = "truncation"


class AsyncTests(AsyncDatabaseTestCase):
    metadata = rows.metadata

    async def test_1(self) -> None:
        await self.session.execute(insert(rows).values(id=1))
        await self.session.commit()
        await self.assertDatabaseCount(rows, 1)
        note(await self.session.scalar(QUERY))

    test_2 = test_1


class AsyncTruncationTests(AsyncTests):
    isolation = "truncation"
