"""What is there after tests: by failure and by request, or because a process was killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Kept(NamedTuple):
    """A database that was kept, as a person deals with it."""

    #: Commands of a shell.
    opens: str
    removes: str

    #: Why the test goes on to work in it, if it does.
    goes_on: str = ""

    #: How many connections had written what is not in it, as they had not committed that.
    left_out: int = 0


class Leftover(NamedTuple):
    """Something that dbtestcase made, and has not removed or not yet."""

    #: In a word, what it is.
    kind: str

    #: Which one it is, for a person to read.
    name: str

    #: Removes it.
    remove: Callable[[], None]

    #: Its file or directory, if it is one; that was last changed when it was last used.
    path: Path | None = None

    def size(self) -> int:
        """Return how many bytes it takes, as far as that can be told."""
        if self.path is None:
            return 0
        return sum(path.lstat().st_size for path in (self.path, *self.path.rglob("*")))
