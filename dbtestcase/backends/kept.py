"""What is kept of a failed test, for a person to open."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from .leftover import Kept, Leftover

_PREFIX = "dbtestcase-kept-"
_LONGEST_NAME = 150


def kept_file(name: str, suffix: str) -> Path:
    """Return the path of a file to be, in a directory of its own that only this user can enter."""
    stem = re.sub(r"[^\w.-]+", "_", name)[:_LONGEST_NAME]
    return Path(tempfile.mkdtemp(prefix=_PREFIX)) / f"{stem}{suffix}"


def kept_files(suffix: str) -> Iterator[Leftover]:
    """Yield what this user had kept, in files with that ``suffix``, and has not removed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/*{suffix}"):
        if path.parent.lstat().st_uid == os.geteuid():
            yield Leftover("kept", str(path), partial(shutil.rmtree, path.parent), path)


def kept(opens: Sequence[object], removes: Sequence[object]) -> Kept:
    """Return what was kept, with two commands as they are typed into a shell."""
    return Kept(shlex.join(map(str, opens)), shlex.join(map(str, removes)))
