"""What is there after tests: by failure and by request, or because a process was killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Kept(NamedTuple):
    """A database that was kept, as a person deals with it."""

    #: Commands of a shell.
    opens: str
    removes: str

    #: The test goes on to work in it.
    goes_on: bool = False


class Leftover(NamedTuple):
    """Something that dbtestcase made, and has not removed or not yet."""

    #: In a word, what it is.
    kind: str

    #: Which one it is, for a person to read.
    name: str

    #: Removes it.
    remove: Callable[[], None]
