"""A suite that notes which process worked in which database; test_runners runs copies of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, insert, text

from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

rows = Table("rows", MetaData(), Column("id", Integer, primary_key=True))


def note(database: Any) -> None:
    Path(os.environ["NOTES"], f"{os.getpid()} {database}").touch()


class SyncTests(DatabaseTestCase):
    metadata = rows.metadata

    def test_1(self) -> None:
        self.session.execute(insert(rows).values(id=1))
        self.session.commit()
        self.assertDatabaseCount(rows, 1)
        note(self.session.scalar(text("SELECT current_database()")))

    test_2 = test_1


class TruncationTests(SyncTests):
    isolation = "truncation"


class AsyncTests(AsyncDatabaseTestCase):
    metadata = rows.metadata

    async def test_1(self) -> None:
        await self.session.execute(insert(rows).values(id=1))
        await self.session.commit()
        await self.assertDatabaseCount(rows, 1)
        note(await self.session.scalar(text("SELECT current_database()")))

    test_2 = test_1


class AsyncTruncationTests(AsyncTests):
    isolation = "truncation"
