"""What a failing test leaves as evidence, in notes on what it raised.

Its SQL, what it changed in which table, and how to open its database. unittest tells the result
of a test about an error as soon as it was raised, before tearDown and clean-ups. So what a test is
given as its result looks at the databases first, and hands failures on to the runner's result when
the clean-up of the test has shown what was there without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from .aliases import DEFAULT
from .lazy_loads import explanation
from .listing import listed
from .observation import Observation, changes
from .wording import counted

if TYPE_CHECKING:
    from unittest import TestCase

    from .backends import Kept
    from .lifecycle import ClassLifecycle, TestLifecycle
    from .recording import Statement

_FAILURES = {"addError", "addFailure", "addSubTest"}  # methods of a result


class ReportingResult:
    """The result of one test, which hands everything on to the runner's, failures with evidence.

    :param of: the class of the test; it knows what is reported, and what is kept.
    """

    def __init__(self, result: Any, of: ClassLifecycle) -> None:
        self._result = result
        self._of = of
        self._sql = of.sql_reports
        self._test: TestLifecycle | None = None
        self._checked: TestLifecycle | None = None
        self._statements: Sequence[Statement] | None = None
        self._failures: list[_Failure] = []
        self._kept: Sequence[Kept] = ()
        self._kept_at: _Failure | None = None
        self._failed = False
        # What each test calls, without the way through __getattr__.
        self.startTest, self.stopTest = result.startTest, result.stopTest

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._result, name)
        return partial(self._report, method) if name in _FAILURES else method

    def addSuccess(self, test: TestCase) -> None:
        """The test and all of its clean-ups are over, and were successful for unittest."""
        try:
            if self._checked is not None:
                self._checked.check()
        except AssertionError:
            self._report(self._result.addFailure, test, sys.exc_info())
        except Exception:
            self._report(self._result.addError, test, sys.exc_info())
        else:
            self._result.addSuccess(test)

    def set_up(self, test: TestLifecycle) -> None:
        """Look at the databases of ``test`` from now on when it fails."""
        self._test, self._statements = test, test.statements
        self._checked = test

    def clean_up(self, clean_up: Callable[[TestLifecycle], None], test: TestLifecycle) -> None:
        """Call ``clean_up(test)``, and hand on the failures of the test after it."""
        for failure in self._failures:
            self._of.explain(failure.error)
            if failure.found is None:  # it was raised in a coroutine, by a sub-test
                failure.when = _AT_ITS_END
                self._look(failure)
        self._test = None
        try:
            clean_up(test)
        finally:
            _explain(self._failures, test)
            self._hand_on_all()

    def finish(self, test: TestCase) -> None:
        """``test`` is over: report its SQL if it is one of all, and what was interrupted."""
        self._hand_on_all()
        if self._sql == "all" and not self._failed and self._statements is not None:
            print(f"\n{test.id()}: {_shown(self._statements)}", file=sys.stderr)

    def _report(self, add: Callable[..., None], *arguments: Any) -> None:
        """Take note of ``add(test, exc_info)``, or of ``add(test, subtest, exc_info)``."""
        raised = arguments[-1]
        if raised is None or not _is_failure(raised[1]):
            add(*arguments)
            return
        self._failed = True
        for why in filter(None, (explanation(raised[1]), self._of.set_up.loss)):
            raised[1].add_note(why)
        failure = _Failure(raised[1], partial(add, *arguments), list(self._statements or ()))
        if self._test is None:
            self._hand_on(failure)
        else:
            self._failures.append(failure)
            self._look(failure)

    def _look(self, failure: _Failure) -> None:
        if failure.found is not None or self._test is None or not self._test.can_look():
            return
        with failure.noting_errors(_UNKNOWN):
            failure.found = {}
            failure.found = self._test.observe()
        if self._of.keeps_databases and self._kept_at is None:
            self._kept_at = failure
            with failure.noting_errors("The database cannot be kept"):
                self._kept = self._test.keep()

    def _state_of(self, kept: Kept, failure: _Failure) -> str:
        at = self._kept_at
        if kept.goes_on:
            return f"with all that the test commits until its end ({kept.goes_on})"
        state = "as it was at another failure of this test"
        if failure is at or (at is not None and failure.when == at.when == _AT_ITS_END):
            state = "as it was then"
        if kept.left_out:
            state += f", but for what {counted(kept.left_out, 'connection')} had not committed"
        return state

    def _hand_on_all(self) -> None:
        failures, self._failures = self._failures, []
        for failure in failures:
            self._hand_on(failure)

    def _hand_on(self, failure: _Failure) -> None:
        if self._sql and self._statements is not None:
            failure.error.add_note(
                f"Until it failed, the test executed {_shown(failure.statements)}"
            )
        for kept in self._kept:
            failure.error.add_note(_KEPT.format(kept=kept, state=self._state_of(kept, failure)))
        failure.deliver()


class _Failure:
    """A failure that the runner has not heard of yet."""

    def __init__(
        self, error: BaseException, deliver: Callable[[], None], statements: Sequence[Statement]
    ) -> None:
        self.error = error
        self.deliver = deliver
        self.statements = statements  # until it happened
        self.when = "Until it failed"
        self.found: Mapping[str, Observation] | None = None  # in the databases, by alias

    @contextmanager
    def noting_errors(self, what: str) -> Iterator[None]:
        """Note that ``what``, because of an error in the block, which must not hide the failure."""
        try:
            yield
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            self.error.add_note(f"{what}: {type(error).__name__}: {reason}")


def _explain(failures: Sequence[_Failure], test: TestLifecycle) -> None:
    """Note on each of ``failures`` what ``test``, which is over, had changed until then."""
    failures = [failure for failure in failures if failure.found]
    if not failures:
        return
    with failures[0].noting_errors(_UNKNOWN):
        before = test.observe_clean()
        for failure in failures:
            if before is None:
                failure.error.add_note(f"{_UNKNOWN}: its isolation was broken.")
            else:
                changed = _changed(before, failure.found or {})
                failure.error.add_note(f"{failure.when}, the test changed {changed}")


def _changed(before: Mapping[str, Observation], after: Mapping[str, Observation]) -> str:
    lines = [
        line if alias == DEFAULT else f"{line} ({alias})"
        for alias in after
        for line in changes(before[alias], after[alias])
    ]
    return "\n    ".join(["in the database:", *lines]) if lines else "nothing in the database."


def _shown(statements: Sequence[Statement]) -> str:
    if not statements:
        return "no SQL"
    return f"{counted(len(statements), 'query')}:{listed(statements)}"


def _is_failure(error: BaseException) -> bool:
    """Tell whether ``error`` fails a test; pytest's ``skip()`` and ``xfail()`` raise one too."""
    pytest = sys.modules.get("pytest")
    if pytest is None:
        return True
    return not isinstance(
        error, (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception)
    )


_AT_ITS_END = "Until its end"  # not Until it failed

_UNKNOWN = "What the test changed in the database cannot be told"

_KEPT = """\
The database is kept, {state}. To open it:
    {kept.opens}
To remove it:
    {kept.removes}"""
