"""The assertion that nothing is left to commit."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from ..wording import shortened
from .base import BaseAssertions, Block_co, Outcome_co, unflushed_in

__unittest = True  # unittest leaves frames of this module out of failures

_SHOWN_CHARACTERS = 300


class CommitAssertions(BaseAssertions[Outcome_co, Block_co]):
    """Whether all work has been committed."""

    def assertCommitted(self) -> Outcome_co:
        """Fail if something is not flushed or not committed, on any connection to the databases.

        ``register("bob"); self.assertCommitted()``

        What ``self.session`` and the sessions of ``session_of()`` have not flushed counts, and what
        any connection, of the test or of the application, has written and not committed. One
        that has only read has nothing to commit.
        """

        def check() -> None:
            lines = [
                f"\n  a session has unflushed changes ({names}): flush and commit them"
                for one in self._opened()
                if not isinstance(one, Connection) and (names := unflushed_in(one))
            ]
            lines += [f"\n  {_shown(what)}" for what in self._dbtestcase_databases().uncommitted()]
            if lines:
                raise self.failureException(f"Not everything is committed:{''.join(lines)}")

        return self._dbtestcase_check("assertCommitted", check)


def _shown(what: str) -> str:
    """Return a statement, and where its connection was opened, with a long one cut."""
    sql, opened, place = what.partition("\n      on the connection")
    return f"{shortened(' '.join(sql.split()), _SHOWN_CHARACTERS)}{opened}{place}"
