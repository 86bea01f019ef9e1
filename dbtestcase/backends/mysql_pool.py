"""Databases that are built once, kept for the next run, and lent to one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from .mysql_copies import CannotCopyError, copy_into
from .mysql_registry import READY, UNFINISHED, Registry

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Build = Callable[["Connection"], None]


class Pool:
    """What this process was lent.

    The templates of one fingerprint have the same stem, and numbers from 1; so have their copies.

    :param make: creates and builds a database.
    :param drop: drops one, if it is ours.
    :param left: what was lent before the locks were lost, and is still used.
    """

    def __init__(
        self,
        registry: Registry,
        make: Callable[[str, Build], None],
        drop: Callable[[str], None],
        *,
        left: set[str],
    ) -> None:
        self._registry = registry
        self._make = make
        self._drop = drop
        self._left = left
        self._lent: dict[str, bool] = {}  # databases that we have locked: in use?
        self._suspects: set[str] = set()
        self._copied: set[str] = set()  # templates that it takes longer to build than to copy

    def lend(self, stem: str, build: Build) -> str:
        """Return the first that nobody uses, built if it was not."""
        for number in count(1):
            name = f"{stem}_{number}"
            if self._lent.get(name) is False:
                break
            if name not in self._lent and name not in self._left and self._claim(name):
                self._prepare(name, build)
                break
        self._lent[name] = True
        return name

    def in_use(self) -> set[str]:
        """Return those that are lent now."""
        return {name for name, in_use in self._lent.items() if in_use}

    def lend_copy(self, template: str, build: Build) -> str:
        """Return a database, to commit in, that contains what was built in ``template``."""
        stem = copies_of(stem_of(template))
        if self.is_copied(template):
            try:
                positions = self._registry.positions(template)
                copy = partial(copy_into, original=template, positions=positions)
                return self.lend(stem, copy)
            except CannotCopyError:
                self._copied.remove(template)
        return self.lend(stem, build)

    def copy_from(self, template: str) -> None:
        """Copy ``template`` from now on, if possible, rather than do again what has built it."""
        self._copied.add(template)

    def is_copied(self, template: str) -> bool:
        """Tell whether that is so now, where all that is committed in it is what was built."""
        is_clean = template in self._lent and template not in self._suspects
        return is_clean and template in self._copied

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
            self._registry.suspect(name)
            self._suspects.add(name)

    def give_back(self, name: str, *, broken: bool = False) -> None:
        """Note that nobody uses ``name`` and that, unless ``broken``, it is clean."""
        if name in self._left:
            self._left.remove(name)
            self._registry.unlock(name)
            return
        if broken:
            self._drop(name)
            self._registry.unlock(name)
            del self._lent[name]
        else:
            if name in self._suspects:
                self._registry.clear(name)
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
                self._make(name, build)
            elif row.unused:
                self._registry.mark(name, READY)
        except BaseException:
            self._registry.unlock(name)
            raise


def stem_of(name: str) -> str:
    """Return the stem of the name of a database in the pool."""
    return name.rpartition("_")[0]


def copies_of(stem: str) -> str:
    """Return the stem of the databases that are equal to the templates of ``stem`` when lent."""
    return stem.replace("_template_", "_copy_")
