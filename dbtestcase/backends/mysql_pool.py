"""Databases that are built once, kept for the next run, and lent to one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from .mysql_registry import READY, SUSPECT, UNFINISHED, Registry

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Build = Callable[["Connection"], None]


class Pool:
    """What this process was lent, for work that ends with a rollback.

    The databases of one fingerprint have the same stem, and numbers from 1.

    :param make: creates and builds a database.
    :param drop: drops one, if it is ours.
    """

    def __init__(
        self,
        registry: Registry,
        make: Callable[[str, str, Build], None],
        drop: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._make = make
        self._drop = drop
        self._lent: dict[str, bool] = {}  # databases that we have locked: in use?
        self._suspects: set[str] = set()

    def lend(self, stem: str, build: Build) -> str:
        """Return the first that nobody uses, built if it was not."""
        for number in count(1):
            name = f"{stem}_{number}"
            if self._lent.get(name) is False:
                break
            if name not in self._lent and self._claim(name):
                self._prepare(name, build)
                break
        self._lent[name] = True
        return name

    def discard_all(self, stem: str) -> None:
        """Let whoever is lent one of them next build it anew."""
        for name in [name for name, in_use in self._lent.items() if not in_use]:
            if stem_of(name) == stem:
                self.give_back(name, broken=True)
        for row in self._registry.rows():
            if stem_of(row.name) == stem:
                self._registry.mark(row.name, UNFINISHED)

    def suspect(self, name: str) -> None:
        """Note that what is done in ``name`` may be committed."""
        if name not in self._suspects:
            self._registry.mark(name, SUSPECT)
            self._suspects.add(name)

    def give_back(self, name: str, *, broken: bool = False) -> None:
        """Note that nobody uses ``name`` and that, unless ``broken``, it is clean."""
        if broken:
            self._drop(name)
            self._registry.unlock(name)
            del self._lent[name]
        else:
            if name in self._suspects:
                self._registry.mark(name, READY)
            self._lent[name] = False
        self._suspects.discard(name)

    def _claim(self, name: str) -> bool:
        """Lock ``name``, unless another process has, somebody else created it, or it is kept."""
        if not self._registry.lock(name):
            return False
        row = self._registry.find(name)
        taken = self._registry.exists(name) if row is None else self._registry.is_kept(row)
        if taken:
            self._registry.unlock(name)
        return not taken

    def _prepare(self, name: str, build: Build) -> None:
        row = self._registry.find(name)
        try:
            if row is None or row.state != READY:
                self._drop(name)
                self._make(name, "template", build)
            elif row.unused:
                self._registry.mark(name, READY)
        except BaseException:
            self._registry.unlock(name)
            raise


def stem_of(name: str) -> str:
    """Return the stem of the name of a database in the pool."""
    return name.rpartition("_")[0]
