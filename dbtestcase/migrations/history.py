"""What can be wrong with a history of revisions before any of them runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from alembic.script import Script

from ..exceptions import OptionError
from .reading import constants_of
from .reports import named
from .source import MigrationSource


def competing_heads(source: MigrationSource) -> str:
    """Return what is wrong with the heads, empty if there is one for each labelled branch."""
    revisions = {script.revision: script for script in source.revisions()}
    by_branch: dict[frozenset[str], list[Script]] = defaultdict(list)
    for head in source.scripts.get_heads():
        by_branch[frozenset(revisions[head].branch_labels)].append(revisions[head])
    competing = [heads for heads in by_branch.values() if len(heads) > 1]
    if not competing:
        return "" if revisions else f"There is no revision in {source.where()}."
    listed = _listed(head for heads in competing for head in heads)
    count = sum(map(len, competing))
    return (
        f"{count} revisions are heads, so that nobody can tell which one to upgrade to:{listed}\n"
        "  To fix this, either: join them by alembic merge heads; or let the younger follow the "
        "older, in its down_revision; or give branches that are to stay a label each, in "
        "branch_labels."
    )


def orphans(source: MigrationSource) -> str:
    """Return which revisions belong to no history, empty if all do."""
    fresh = MigrationSource(source.option)
    try:
        revisions = fresh.revisions()
    except OptionError as error:
        return str(error)
    found = ""
    bases = [script for script in revisions if script.is_base and not script.branch_labels]
    if len(bases) > 1:
        found += (
            f"{len(bases)} revisions have down_revision = None, and one can be the first:"
            f"{_listed(bases)}\n  To fix this, let the others follow a revision, or give the "
            "histories that they begin a label each, in branch_labels.\n"
        )
    loaded = {Path(script.path).resolve() for script in revisions}
    for path in fresh.files():
        is_script = path.suffix == ".py" and path.resolve() not in loaded
        if is_script and "down_revision" in constants_of(path):
            found += (
                f'File "{path}" looks like a revision and is in no directory of revisions.\n'
                "  To fix this, move it, or set recursive_version_locations or version_locations.\n"
            )
    return found.strip()


def _listed(scripts: Iterable[Script]) -> str:
    return "".join(f'\n  {named(one)}, File "{one.path}"' for one in scripts)
