"""SQL that migrations have executed, executed again where no database can be cloned."""

from __future__ import annotations

import datetime
import io
import os
import unittest
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from dbtestcase import AsyncMigrationTestCase, MigrationTestCase
from dbtestcase.backends import backend_for
from dbtestcase.backends.scripts import Script, Scripts
from dbtestcase.backends.template_files import TemplateFiles

from . import inner
from .histories import History
from .test_pglite_server import needs_it

TEXT = "O'Brien\\ 100% $1 :x"


class Texts(unittest.TestCase):
    """What a script says of what was executed."""

    def check(
        self, paramstyle: str, noted: tuple[Any, ...], *said: str, many: bool = False
    ) -> None:
        script = Script(paramstyle)
        script.note(*noted, many=many)
        lines = [f"EXECUTE {sql};" for sql in said]
        text = "\n".join(["DO $dbtestcase$ BEGIN", *lines, "END $dbtestcase$"])
        self.assertEqual(script.text(), text if said else None)

    def test_parameters(self) -> None:
        named = {"a": 1, "b": "it's", "c": None, "d": Decimal("1.50"), "e": True}
        self.check(
            "pyformat",
            ("VALUES (%(a)s, %(b)s::TEXT, %(c)s, %(d)s, %(e)s, '100%%')", named),
            "'VALUES (1, ''it''''s''::TEXT, NULL, ''1.50'', True, ''100%'')'",
        )
        self.check("pyformat", ("VALUES (%s, %s)", (1, 2)), "'VALUES (1, 2)'")
        self.check("pyformat", ("VALUES ('%%')", ()), "'VALUES (''%'')'")
        self.check("pyformat", ("VALUES ('%s')",), "'VALUES (''%s'')'")
        day = datetime.date(2026, 1, 2)
        self.check("numeric_dollar", ("VALUES ($2, $1)", (1, day)), "'VALUES (''2026-01-02'', 1)'")
        self.check("numeric_dollar", ("VALUES ('$1 %')", ()), "'VALUES (''$1 %'')'")
        self.check("pyformat", ("SELECT %s", [(1,), (2,)]), "'SELECT 1'", "'SELECT 2'", many=True)

    def test_backslashes(self) -> None:
        self.check("pyformat", ("VALUES ('\\')",), " E'VALUES (''\\\\'')'")

    def test_what_cannot_be_told(self) -> None:
        self.check("pyformat", ("VALUES (%s)", ([1],)))
        self.check("pyformat", ("VALUES (%s)", ()))
        self.check("pyformat", ("VALUES (%(a)t)", {"a": 1}))
        self.check("numeric_dollar", ("VALUES ($2)", (1,)))
        self.check("pyformat", ("DO $dbtestcase$ BEGIN END $dbtestcase$",))

    def test_what_cannot_be_kept(self) -> None:
        class Link:
            @contextmanager
            def noting(self) -> Iterator[Script]:
                yield Script("pyformat")

        connection: Any = None
        made: list[object] = []
        with inner.directory() as directory, redirect_stderr(io.StringIO()) as said:
            (directory / "file").touch()
            files = TemplateFiles(directory / "file" / "templates", ".sql")
            Scripts(files).repeat("one", connection, Link(), made.append)
        self.assertEqual(made, [None])
        self.assertIn("migrations are applied in each test, as nothing is kept: ", said.getvalue())


def go_and_check(self: Any) -> None:
    self.migrate_to("one")
    self.check(self.session)


async def go_and_check_async(self: Any) -> None:
    await self.migrate_to("one")
    await self.session.run_sync(self.check)


Sync = (MigrationTestCase, go_and_check)
Async = (AsyncMigrationTestCase, go_and_check_async)


@needs_it
class OnPGlite(unittest.TestCase):
    def setUp(self) -> None:
        directory = self.enterContext(inner.directory())
        self.history = History(directory / "app")
        self.note = directory / "note"
        self.note.touch()
        backend: Any = backend_for("pglite://")
        self.files: TemplateFiles = backend.scripts.files
        before = set(self.files.paths())
        self.addCleanup(lambda: [one.unlink() for one in {*self.files.paths()} - before])

    def write(self, *lines: str) -> None:
        """Write the revision, which counts how often it is applied."""
        noted = [f"with open({str(self.note)!r}, 'a') as note:", "    note.write('x')"]
        self.history.write("one", None, "\n".join([*noted, *lines]))

    def applied(self) -> int:
        return len(self.note.read_text())

    def run_twice(self, *colours: Any, finds: list[Any]) -> None:
        """Run two tests of each colour, which find rows in the table that is made."""

        def check(case: Any, session: Any) -> None:
            from sqlalchemy import text

            rows = session.execute(text("SELECT * FROM things ORDER BY 1")).all()
            case.assertEqual([tuple(row) for row in rows], finds)
            case.assertEqual(
                session.scalar(text("SELECT nextval('things_id_seq')")), len(finds) + 1
            )

        options = {"database": "pglite://", "migrations": self.history.ini, "check": check}
        options["standard_tests"] = False
        cases = [
            type("Case", (base,), {**options, "test_1": one, "test_2": one})
            for base, one in colours
        ]
        inner.passed(self, inner.run(*cases), 2 * len(cases))

    def test_each_colour_by_what_the_other_has_executed(self) -> None:
        for colours in ((Sync, Async), (Async, Sync)):
            first = colours[0][0].__name__
            with self.subTest(first):
                self.note.write_text("")
                self.write(
                    f"# {first}",
                    "import datetime, decimal",
                    "op.execute('CREATE TABLE things (id serial, name text DEFAULT $$its$$,'",
                    "    ' at date, price numeric, good bool)')",
                    "things = sa.table('things', *map(sa.column, ['name', 'price', 'good']),",
                    "    sa.column('at', sa.Date))",
                    f"row = dict(name={TEXT!r}, at=datetime.date(2026, 1, 2),",
                    "    price=decimal.Decimal('1.50'), good=True)",
                    "op.bulk_insert(things, [row, dict(row, name=None, good=None)])",
                    "op.execute('INSERT INTO things (good) VALUES (false)')",
                )
                rest = (datetime.date(2026, 1, 2), Decimal("1.50"))
                rows: list[Any] = [(1, TEXT, *rest, True), (2, None, *rest, None)]
                rows.append((3, "its", None, None, False))
                self.run_twice(*colours, finds=rows)
                self.assertEqual(self.applied(), 1)

    def test_what_cannot_be_told_is_applied_by_each_test(self) -> None:
        table = "op.execute('CREATE TABLE things (id serial)')"
        add = "INSERT INTO things DEFAULT VALUES"
        for lines in (
            [
                "with op.get_bind().connection.cursor().copy('COPY things FROM STDIN') as copy:",
                "    copy.write_row([1])",
                "op.execute(\"SELECT nextval('things_id_seq')\")",
            ],
            [f"op.get_bind().connection.pgconn.exec_({add.encode()!r})"],
            [f"op.get_bind().execute(sa.text('{add} RETURNING :x'), dict(x=b'1'))"],
            [
                "nested = op.get_bind().begin_nested()",
                "op.execute('CREATE TABLE others ()')",
                "nested.rollback()",
                f"op.execute({add!r})",
            ],
        ):
            with self.subTest(lines[0]):
                self.note.write_text("")
                self.write(table, *lines)
                self.run_twice(Sync, finds=[(1,)])
                self.assertEqual(self.applied(), 2)

    def made(self) -> Path:
        """Let there be a script, and return its path."""
        before = set(self.files.paths())
        self.write("op.execute('CREATE TABLE things (id serial)')")
        self.run_twice(Sync, finds=[])
        self.assertEqual(self.applied(), 1)
        [made] = {*self.files.paths()} - before
        return made

    def test_one_that_fails_is_made_anew(self) -> None:
        made = self.made()
        text = made.read_text()
        made.write_text("CREATE TABLE things (); SELECT 1 / 0")
        with redirect_stderr(io.StringIO()) as said:
            self.run_twice(Sync, finds=[])
        self.assertIn(
            "migrations are applied anew, as what they had executed failed: ", said.getvalue()
        )
        self.assertEqual(self.applied(), 2)
        self.assertEqual(made.read_text(), text)

    def test_rebuild(self) -> None:
        self.made()
        with mock.patch.dict(os.environ, DBTESTCASE_REBUILD="1"):
            self.run_twice(Sync, finds=[])
        self.assertGreater(self.applied(), 1)
