"""Assertions about the statements that a block executes.

Each is a context manager for ``with``, in async tests as well: there is nothing to wait for. They
count what is executed on the test's engines and on all redirected ones, in all threads. A savepoint
that the application or the test asks for (``begin_nested()``) counts, with its release or rollback,
as in Django; those of the sandbox, the queries of assertions, BEGIN and COMMIT do not. An
``executemany`` counts once. ``as`` gives the list of statements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import starmap, zip_longest
from typing import TYPE_CHECKING

from ..exceptions import UsageError
from ..listing import SHOWN_STATEMENTS, grouped, indented, lines_of, listed, listed_groups
from ..recording import Statement, recorder
from ..statements import transaction_control
from ..wording import counted, shortened
from .base import BaseAssertions, Block_co, Outcome_co, checked_count

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    Block = AbstractContextManager[list[Statement]]
    #: Returns what is wrong with the statements of a block, empty if nothing is.
    Judge = Callable[[list[Statement]], str]

Pattern = str | re.Pattern[str]
Pair = tuple[re.Pattern[str] | None, Statement | None]

_SHOWN_BEFORE = 5  # of the first statement that does not match
_SHOWN_CHARACTERS = 800  # of a pattern


class QueryAssertions(BaseAssertions[Outcome_co, Block_co]):
    """How many statements, and which."""

    def assertNumQueries(self, count: int) -> Block:
        """Fail unless exactly ``count`` statements are executed inside the ``with`` block.

        ``with self.assertNumQueries(2): ...``, in async tests as well. It counts on the test's
        engine and on all redirected ones. The sandbox's own savepoints and the queries of
        assertions do not count; those that the application asks for do. An ``executemany``
        counts once. ``as`` gives the statements.

        :raises UsageError: ``count`` is no number of statements.
        """
        return self._queries(
            "assertNumQueries", _is(count, "{count:,}", lambda found: found == count)
        )

    def assertMaxQueries(self, count: int) -> Block:
        """Fail if more than ``count`` statements are executed inside the ``with`` block.

        ``with self.assertMaxQueries(5): ...``; what counts is as in :meth:`assertNumQueries`.

        :raises UsageError: ``count`` is no number of statements.
        """
        return self._queries(
            "assertMaxQueries", _is(count, "at most {count:,}", lambda found: found <= count)
        )

    def assertNoQueries(self) -> Block:
        """Fail if any statement is executed inside the ``with`` block.

        ``with self.assertNoQueries(): render(user)``; what counts is as in
        :meth:`assertNumQueries`.
        """
        return self._queries("assertNoQueries", _is(0, "none", lambda found: found == 0))

    def assertQueriesMatch(self, patterns: Pattern | Iterable[Pattern]) -> Block:
        """Fail unless the statements inside the ``with`` block match ``patterns``, one for one.

        ``with self.assertQueriesMatch(["^INSERT INTO users", "^SELECT .* FROM users"]): ...``

        :param patterns: regular expressions, in the order of the statements. Each is searched for
            in the SQL on one line, whatever the case of the letters; compiled ones as they are.
        :raises UsageError: a pattern is no regular expression for strings.
        """
        if isinstance(patterns, (str, re.Pattern)) or not isinstance(patterns, Iterable):
            patterns = [patterns]
        compiled = list(map(_compiled, patterns))

        def judge(statements: list[Statement]) -> str:
            pairs = list(zip_longest(compiled, statements))
            if all(starmap(_match, pairs)):
                return ""
            executed, asked = counted(len(statements), "query"), counted(len(compiled), "pattern")
            return f"{executed} executed, expected to match {asked}:{indented(_paired(pairs))}"

        return self._queries("assertQueriesMatch", judge)

    def assertNoRepeatedQueries(self) -> Block:
        """Fail if the same SQL is executed again inside the ``with`` block: N+1 queries.

        ``with self.assertNoRepeatedQueries(): client.get("/users")``

        Statements are the same if their SQL is, whatever the parameters. The failure shows the
        line that caused each. Savepoints and bulk operations may be repeated.
        """
        return self._queries("assertNoRepeatedQueries", _repetitions)

    def _queries(self, name: str, judge: Judge) -> Block:
        return self._block(name, self._judged(judge))

    @contextmanager
    def _judged(self, judge: Judge) -> Iterator[list[Statement]]:
        """Judge the statements of a block, unless it raises something itself."""
        statements: list[Statement] = []
        with self._dbtestcase_databases().listening(
            lambda alias: recorder(alias, statements.append)
        ):
            yield statements
        wrong = judge(statements)
        if wrong:
            raise self.failureException(wrong)


def _is(count: int, expected: str, fits: Callable[[int], bool]) -> Judge:
    checked_count(count, "queries")

    def judge(statements: list[Statement]) -> str:
        if fits(len(statements)):
            return ""
        details = listed(statements)
        return (
            f"{counted(len(statements), 'query')} executed, {expected.format(count=count)} expected"
            f"{details and ':'}{details}"
        )

    return judge


def _repetitions(statements: list[Statement]) -> str:
    groups = [[one for one in group if _may_not_repeat(one[1])] for group in grouped(statements)]
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        return ""
    return (
        f"{counted(len(statements), 'query')} executed, {len(repeated):,} of them repeatedly:"
        f"{listed_groups(repeated)}\n"
        "  To fix this, load what belongs together at once, for example with selectinload()"
    )


def _may_not_repeat(statement: Statement) -> bool:
    return not statement.bulk and transaction_control(statement.sql) is None


def _compiled(pattern: Pattern) -> re.Pattern[str]:
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    if not isinstance(pattern, str):
        raise UsageError(f"{pattern!r} is no regular expression; write for example '^SELECT'")
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise UsageError(
            f"{pattern!r} is no regular expression: {error}; re.escape() makes one of SQL"
        ) from error


def _match(pattern: re.Pattern[str] | None, statement: Statement | None) -> bool:
    if pattern is None or statement is None:
        return False
    return pattern.search(" ".join(statement.sql.split())) is not None


def _paired(pairs: Sequence[Pair]) -> list[str]:
    """Return the lines that compare statements with patterns, around the first that differ."""
    different = next(n for n, pair in enumerate(pairs) if not _match(*pair))
    start = max(different - _SHOWN_BEFORE, 0) if len(pairs) > SHOWN_STATEMENTS else 0
    end = start + SHOWN_STATEMENTS
    lines = [f"{counted(start, 'query')} before, which match"] if start else []
    for n, pair in enumerate(pairs[start:end], start + 1):
        lines += _compared(n, *pair)
    if len(pairs) > end:
        lines.append(f"… and {len(pairs) - end:,} more, which are not shown")
    return lines


def _compared(
    number: int, pattern: re.Pattern[str] | None, statement: Statement | None
) -> list[str]:
    if pattern is None and statement is not None:
        return [*lines_of([(number, statement)]), "     expected: nothing"]
    expected = shortened(repr(pattern.pattern), _SHOWN_CHARACTERS) if pattern else ""
    if statement is None:
        return [f"{number}. nothing", f"     expected: {expected}"]
    verdict = "matches" if _match(pattern, statement) else "expected:"
    return [*lines_of([(number, statement)]), f"     {verdict} {expected}"]
