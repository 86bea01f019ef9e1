"""Reading the revisions, and what is said of those that cannot be read."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError, to_tuple

from .reports import line_in

_TWICE = re.compile(r"Revision (.+) is present more than once")
_MISSING = r"Revision .+ referenced from .+ is not present"
_FIXES = {
    "Path doesn't exist": (
        "write script_location = %(here)s/… in it, which does not depend on where the tests run"
    ),
    "No 'script_location'": "write script_location = %(here)s/… into its section [alembic]",
    "Cycle is detected": "let the first of them follow another revision, in its down_revision",
    "Self-loop is detected": "let it follow another revision, in its down_revision",
    "Branch name": "give one of them another label, in its branch_labels",
}


def read_revisions(scripts: ScriptDirectory, files: Iterable[Path]) -> list[Script]:
    """Return all revisions, each after those that it needs.

    :param scripts: if it cannot be read, it says that once, and is not to be used again.
    :param files: where revisions may be.
    :raises CommandError: they are no history.
    :raises Exception: what a module of a revision raised, with a note that says where.
    """
    files = list(files)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", _TWICE.pattern, UserWarning)
        warnings.filterwarnings("ignore", _MISSING, UserWarning)  # an error follows
        try:
            return [*scripts.walk_revisions()][::-1]
        except CommandError:
            raise
        except Exception as error:
            where = next(filter(None, (line_in(error, path) for path in files)), "")
            if isinstance(error, KeyError) and not where:
                raise CommandError(_missing(error.args[0], files)) from None
            if isinstance(error, UserWarning) and (found := _TWICE.fullmatch(str(error))):
                raise CommandError(_twice(found[1], files)) from None
            error.add_note("Raised while revisions were read" + (where and f", in\n{where}"))
            raise


def constants_of(path: Path) -> Mapping[str, Any]:
    """Return what the module at ``path`` sets to constants, by name, without running it."""
    found = {}
    with suppress(SyntaxError, ValueError):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    with suppress(ValueError):
                        found[getattr(target, "id", "")] = ast.literal_eval(node.value)
    return found


def fix_of(message: str) -> str:
    """Return what is to be done about an error of Alembic's, if that is known."""
    fixes = [fix for begin, fix in _FIXES.items() if message.startswith(begin)]
    return f"\n  To fix this, {fixes[0]}" if fixes else ""


def _missing(revision: str, files: Iterable[Path]) -> str:
    said = [
        f'\n  File "{path}" says {name} = {constants[name]!r}'
        for path, constants in _modules(files)
        for name in ("down_revision", "depends_on")
        if revision in to_tuple(constants.get(name), ())
    ]
    return (
        f"there is no revision {revision!r}, which another needs{':' if said else '.'}"
        f"{''.join(said)}\n  To fix this, either: bring the file of {revision!r} back; or name one "
        "that is there, such as the one that was before it."
    )


def _twice(revision: str, files: Iterable[Path]) -> str:
    same = [path for path, said in _modules(files) if said.get("revision") == revision]
    listed = "".join(f'\n  File "{path}"' for path in same)
    return (
        f"{len(same) or 'several'} files have revision = {revision!r}:{listed}\n  To fix this, "
        "remove one of them, or give it another identifier, as alembic revision does."
    )


def _modules(files: Iterable[Path]) -> list[tuple[Path, Mapping[str, Any]]]:
    return [(path, constants_of(path)) for path in files if path.suffix == ".py"]
