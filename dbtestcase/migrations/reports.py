"""What is said of a revision that failed: which, where, and with what SQL."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from alembic.script import Script


def named(script: Script) -> str:
    """Return what a person calls a revision: its identifier, and what it says of itself."""
    doc = (script.doc or "").strip()
    return f"{script.revision} ({doc})" if doc else script.revision


def describe(error: BaseException, step: RevisionStep | None, env_py: str) -> str:
    """Say where ``error`` was raised while ``env.py`` ran, and by what SQL.

    :param step: what was being done, if migrations had begun.
    """
    if step is None:
        hint = _NO_CONTEXT if str(error).startswith("Working outside of application") else ""
        return f"Raised by env.py, at\n{_line(error, env_py)}{hint}"
    script = step.revision
    direction = "upgrade" if step.is_upgrade else "downgrade"
    lines = [f"Raised by the {direction} of revision {named(script)},", _line(error, script.path)]
    if isinstance(error, DBAPIError) and error.statement:
        lines.append(f"by the SQL:\n{_indented(error.statement)}")
        if error.params:
            lines.append(f"with the parameters {error.params!r}")
    return "\n".join(lines)


def line_in(error: BaseException, path: str | Path) -> str:
    """Return where in the file ``path`` the error comes from, with the text of the line, if so."""
    file = Path(path).resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve() == file:
            said = f": {frame.line}" if frame.line else ""
            return f'File "{file}", line {frame.lineno}, in {frame.name}{said}'
    return ""


def _line(error: BaseException, path: str) -> str:
    return line_in(error, path) or f'File "{Path(path).resolve()}"'


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


_NO_CONTEXT = """
  To fix this, write in setUpDatabase: with app.app_context(): super().setUpDatabase(connection); \
or in tests of the migrations themselves, in setUp: self.enterContext(app.app_context())"""
