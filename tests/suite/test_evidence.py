"""What is told of a test's SQL and of its failure, for each isolation and colour."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import TestCase

from sqlalchemy import insert, literal_column, select, text
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from dbtestcase import UsageError

from ..models import Post, User
from . import failing
from .behaviour import Async, Behaviour, Sync
from .test_behaviour import ISOLATIONS

ROOT = Path(__file__).parent.parent.parent
CASES = [name for name in vars(failing) if re.fullmatch("A?[Ss]ync[A-Z].*", name)]
KEPT = re.compile(r"To open it:\n\s+(.*)\n.*To remove it:\n\s+(.*)\n")


class Queries(Behaviour):
    """Statements and assertions about them, whatever the driver."""

    def fails(self, pattern: str, block: Any, work: Any) -> None:
        with self.assertRaises(AssertionError) as raised, block:
            work()
        self.assertRegex(str(raised.exception), re.compile(pattern, re.DOTALL))

    def select(self) -> None:
        with self.own_engine.connect() as connection:
            connection.scalars(select(User.name)).all()

    def load_each(self) -> None:
        with Session(self.app_engine) as session:
            for post in session.scalars(select(Post)).all():
                session.scalars(select(User).where(User.id == post.author_id)).one()

    def test_statements(self) -> None:
        self.register("bob")
        self.select()
        self.assertEqual([one.sql.split()[0] for one in self.statements], ["INSERT", "SELECT"])
        for statement in self.statements:
            self.assertRegex(statement.caller, r"tests/suite/\w+\.py:\d+$")
            self.assertGreater(statement.duration or 0, 0)
        self.assertIn("bob", repr(self.statements[0].parameters))
        self.assertEqual(self.statements[0].rowcount, 1)

    def test_num_queries(self) -> None:
        with self.assertNumQueries(2) as statements:
            self.select()
            self.register("bob")
        self.assertEqual(len(statements), 2)
        self.fails(
            r"^1 query executed, 2 expected:\n  1\. SELECT users\.name FROM users\n"
            r"       \d+\.\d ms, (\d rows?, )?tests/suite/test_evidence\.py:\d+$",
            self.assertNumQueries(2),
            self.select,
        )

    def test_max_queries(self) -> None:
        for most in (1, 2):
            with self.assertMaxQueries(most):
                self.select()
        self.fails(
            r"^1 query executed, at most 0 expected:\n  1\. SELECT",
            self.assertMaxQueries(0),
            self.select,
        )

    def test_no_queries(self) -> None:
        with self.assertNoQueries():
            self.check(self.assertDatabaseCount(User, 1))
        self.fails(
            r"^1 query executed, none expected:\n"
            r"  1\. INSERT INTO users.*'bob'.*tests/suite/behaviour\.py:\d+$",
            self.assertNoQueries(),
            lambda: self.register("bob"),
        )

    def test_queries_match(self) -> None:
        with self.assertQueriesMatch(["^insert into users", re.compile("^SELECT .* FROM users")]):
            self.register("bob")
            self.select()
        with self.assertQueriesMatch("from users$"):
            self.select()
        self.fails(
            r"^1 query executed, expected to match 2 patterns:\n"
            r"  1\. SELECT users\.name FROM users\n"
            r"       [^\n]*\n       expected: '\^INSERT'\n  2\. nothing\n       expected: 'FROM'$",
            self.assertQueriesMatch(["^INSERT", "FROM"]),
            self.select,
        )

    def test_no_repeated_queries(self) -> None:
        with self.assertNoRepeatedQueries():
            self.select()
            self.register("bob")
        self.fails(
            r"^3 queries executed, 1 of them repeatedly:\n  2\. SELECT [^\n]* FROM users[^\n]*\n"
            r"       2 times:\n(         [23]\. [^\n]*, tests/suite/test_evidence\.py:\d+\n){2}"
            r"  To fix this, load ",
            self.assertNoRepeatedQueries(),
            self.load_each,
        )

    def test_savepoints_count_if_they_are_the_users(self) -> None:
        with (
            self.assertQueriesMatch(["^SAVEPOINT", "^INSERT", "^RELEASE"]),
            self.own_session.begin_nested(),
        ):
            self.own_session.execute(insert(User).values(name="bob"))
        self.own_session.commit()

    def test_savepoints_of_assertions_do_not_count(self) -> None:
        for work in (lambda: self.own_session.execute(select(User)), lambda: None):
            work()  # begins a transaction, or does not
            with self.assertNumQueries(1), self.violated("users.name"):
                self.own_session.execute(text("INSERT INTO users (age) VALUES (1)"))
            self.own_session.rollback()

    @contextmanager
    def violated(self, name: str) -> Iterator[None]:
        block: Any = self.assertConstraintViolated(name)
        if isinstance(self, Sync):
            with block:
                yield
            return
        await_only(block.__aenter__())
        try:
            yield
        except Exception as error:
            await_only(block.__aexit__(type(error), error, error.__traceback__))

    def test_rows_that_are_inserted_at_once(self) -> None:
        def insert_two(*names: str) -> None:
            self.own_session.add_all([User(name=name) for name in names])
            self.own_session.flush()

        with self.assertMaxQueries(2) as statements:
            insert_two("bob", "carl")
        self.assertEqual({one.times for one in statements}, {1})
        self.fails(
            r"executed, none expected:\n  1\. INSERT INTO users .*'dora'",
            self.assertNoQueries(),
            lambda: insert_two("dora", "eve"),
        )

    def test_many_queries_are_cut(self) -> None:
        def select_numbers(connection: Any, count: int) -> None:
            for number in range(count):
                connection.execute(select(literal_column(str(number))).select_from(User))

        with self.own_engine.connect() as connection:
            self.fails(
                r"^90 queries executed, expected to match 90 patterns:\n"
                r"  15 queries before, which match\n  16\. SELECT 15 .*\n  65\. SELECT 64 [^\n]*\n"
                r"[^\n]*\n       matches 'FROM users'\n  … and 25 more, which are not shown$",
                self.assertQueriesMatch(["FROM users"] * 20 + ["^INSERT"] + ["FROM users"] * 69),
                lambda: select_numbers(connection, 90),
            )
            self.fails(
                r"^140 queries executed, 70 of them repeatedly:.*\n"
                r"  … and 40 more statements, which are not shown\n  To fix this, ",
                self.assertNoRepeatedQueries(),
                lambda: (select_numbers(connection, 70), select_numbers(connection, 70)),
            )

    def test_wrong_use(self) -> None:
        for assertion, wrong, message in [
            (self.assertNumQueries, -1, "-1 is no number of queries; write for example 2"),
            (self.assertNumQueries, "2", "'2' is no number of queries"),
            (self.assertMaxQueries, True, "True is no number of queries"),
            (self.assertQueriesMatch, 5, "5 is no regular expression; write for example"),
            (self.assertQueriesMatch, ["^A", None], "None is no regular expression"),
            (self.assertQueriesMatch, re.compile(b"x"), "re.compile(b'x') is no regular"),
            (self.assertQueriesMatch, "(", "'(' is no regular expression: missing )"),
        ]:
            with self.subTest(message), self.assertRaises(UsageError) as raised:
                assertion(wrong)
            self.assertIn(message, str(raised.exception))

    def test_executemany_counts_once(self) -> None:
        with self.assertNumQueries(1) as statements, self.own_engine.begin() as connection:
            connection.execute(insert(User), [{"name": "bob"}, {"name": "carl"}])
        self.assertTrue(statements[0].bulk)


class Failures(TestCase):
    """Real runs of tests that fail, and what a person reads of them."""

    def run_failing(self, *command: str, **variables: str) -> str:
        warnings = "error" if command[0] == "unittest" else "default"  # of plugins, too
        ran = subprocess.run(
            [sys.executable, "-W", warnings, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "DBTESTCASE_KEEP": "", "DBTESTCASE_SQL": "", **variables},
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(ran.returncode, 1, ran.stdout + ran.stderr)
        return ran.stdout + ran.stderr

    def test_what_changed(self) -> None:
        output = self.run_failing("unittest", "tests.suite.failing")
        cases = len(CASES)
        self.assertIn(f"FAILED (failures={3 * cases}, ", output)
        self.assertEqual(
            output.count(
                "Until it failed, the test changed in the database:\n"
                "    tags: 1 deleted\n"
                "    users: 1 inserted, 1 updated\n"
            ),
            cases,
        )
        # In a coroutine a sub-test cannot look at once.
        of_sub_tests = {
            "Until it failed, the test changed in the database:\n    users: 1 inserted\n": 1,
            "Until it failed, the test changed in the database:\n    users: 2 inserted\n": 1,
            "Until its end, the test changed in the database:\n    users: 2 inserted\n": 2,
        }
        for note, count in of_sub_tests.items():
            self.assertEqual(output.count(note), count * cases // 2, note)

    def test_sql(self) -> None:
        case = "tests.suite.failing.SyncTransaction"
        output = self.run_failing("unittest", case, DBTESTCASE_SQL="all")
        self.assertIn("Until it failed, the test executed 4 queries:\n", output)
        self.assertRegex(
            output,
            r"  1\. INSERT INTO users [^\n]*\n       [^\n]*'bob'[^\n]* ms, 1 row, "
            r"tests/suite/behaviour\.py:\d+\n",
        )
        self.assertRegex(output, r"  2\. UPDATE users [^\n]*\n[^\n]*tests/suite/failing\.py:\d+\n")
        self.assertRegex(output, rf"{case}\.test_reads_and_passes: 1 query:\n  1\. SELECT ")
        self.assertRegex(output, rf"{case}\.test_is_skipped: 3 queries:\n  1\. INSERT ")
        self.assertEqual(output.count("Until it failed, the test executed"), 3)

    def test_databases_are_kept(self) -> None:
        tests = [f"tests.suite.failing.{case}.test_fails" for case in CASES]
        output = self.run_failing("unittest", *tests, DBTESTCASE_KEEP="1")
        kept = KEPT.findall(output)
        removals = dict.fromkeys(remove for _, remove in kept)
        for remove in removals:
            self.addCleanup(subprocess.run, shlex.split(remove), cwd=ROOT, check=True)
        self.assertEqual(len(kept), len(CASES), output)
        for opens, _ in kept:
            with self.subTest(opens):
                self.assertEqual(_queried(opens), "alice 30 bob")
        self.assertEqual(output.count("The database is kept, as it was then. To"), len(CASES))

    def test_under_pytest(self) -> None:
        options = ("-q", "-rP", "-o", "filterwarnings=default", "-p", "xdist")
        tests = ("-k", "AsyncTransaction and not sub_tests", "tests/suite/failing.py")
        variables = {"DBTESTCASE_KEEP": "1", "DBTESTCASE_SQL": "all"}
        # Of all plugins, which take seconds to import, only that of setup.cfg's options.
        variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        output = self.run_failing("pytest", *options, *tests, **variables)
        [[opens, remove]] = KEPT.findall(output.replace("\nE  ", "\n"))
        self.addCleanup(subprocess.run, shlex.split(remove), cwd=ROOT, check=True)
        self.assertIn("    users: 1 inserted, 1 updated\n", output)
        self.assertIn("the test executed 4 queries:\n", output)
        self.assertRegex(output, r"test_reads_and_passes: 1 query:\n  1\. SELECT ")
        self.assertRegex(output, "1 failed, 2 passed, 1 skipped, .*1 xfailed")
        self.assertEqual(_queried(opens), "alice 30 bob")


def _queried(opens: str) -> str:
    """Return what a query finds in a database that is opened by that command of a shell."""
    query = "SELECT name, COALESCE(age, 0) FROM users ORDER BY name"
    command = shlex.split(opens)
    if command[0] == "sqlite3" and shutil.which("sqlite3") is None:
        with closing(sqlite3.connect(command[1])) as connection:
            return " ".join(
                str(value) for row in connection.execute(query) for value in row if value
            )
    ran = subprocess.run(
        command, cwd=ROOT, input=f"{query};", check=False, capture_output=True, text=True
    )
    words = re.findall(r"\w+", ran.stdout)
    return " ".join(word for word in words if word in {"alice", "bob", "carl", "30"}) or ran.stderr


class SyncTransaction(Queries, Sync): ...


class AsyncTransaction(Queries, Async): ...


if "truncation" in ISOLATIONS:

    class SyncTruncation(Queries, Sync):
        isolation = "truncation"

    class AsyncTruncation(Queries, Async):
        isolation = "truncation"


if "template" in ISOLATIONS:

    class SyncTemplate(Queries, Sync):
        isolation = "template"

    class AsyncTemplate(Queries, Async):
        isolation = "template"


if "schema" in ISOLATIONS:

    class SyncSchema(Queries, Sync):
        isolation = "schema"

    class AsyncSchema(Queries, Async):
        isolation = "schema"
