"""What ``python -m dbtestcase`` says and does: what is here, what is missing, what is left over."""

from __future__ import annotations

import os
import platform
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

import sqlalchemy

from . import _version
from .backends import Backend, Leftover, backend_for, shown
from .environment import default_database
from .exceptions import BackendError, DBTestCaseError
from .wording import counted

#: What works on this machine alone, or could.
_LOCAL = ("sqlite://", "pglite://", "pgserver://")


class Check(NamedTuple):
    """One thing that a backend needs: what was found, or what to do about it."""

    name: str
    found: bool
    said: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``doctor`` or ``clean``, and return the exit status.

    :param arguments: those of the command line, if None.
    """
    options = _parse(arguments)
    run: Callable[[Namespace], int] = options.run
    try:
        with ExitStack() as options.closing:
            return run(options)
    except DBTestCaseError as error:
        print(f"dbtestcase: {error}", file=sys.stderr)
        return 2


def doctor(options: Namespace) -> int:
    """Print what each database needs and whether it is here; return 1 if a named one lacks any."""
    named = options.database or [default_database()]
    others = () if options.database else _LOCAL
    backends, missing = _open([*named, *others], options.closing)
    print(
        f"dbtestcase {_version.VERSION}, Python {platform.python_version()},"
        f" SQLAlchemy {sqlalchemy.__version__}"
    )
    usable = {name: _report(name, backend) for name, backend in backends.items()}
    for name, error in missing.items():
        print(f"\n{shown(name)}{_default_note(name)}")
        _print_columns("MISSING", "packages", str(error))
    return int(not all(usable.get(name) for name in named))


def _open(
    databases: Iterable[str], closing: ExitStack
) -> tuple[dict[str, Backend], dict[str, BackendError]]:
    """Return the backends, to be closed at the end, and why others cannot be had, by name."""
    backends, missing = {}, {}
    for name in databases:
        try:
            backends[name] = backend_for(name)
            closing.callback(backends[name].close)
        except BackendError as error:  # what it is made of is not installed
            missing[name] = error
    return backends, missing


def _report(database: str, backend: Backend) -> bool:
    """Print what ``backend`` needs and has kept; return whether it can be used."""
    checks = list(examine(backend))
    usable = all(check.found for check in checks)
    print(f"\n{shown(database)}{_default_note(database)}")
    for check in checks:
        _print_columns("ok" if check.found else "MISSING", check.name, check.said)
    left = list(backend.leftovers()) if usable else []
    for kind in dict.fromkeys(one.kind for one in left):
        _print_columns("", kind, _summary([one for one in left if one.kind == kind]))
    if left:
        _print_columns("", "", f"To list and remove: python -m dbtestcase clean {shown(database)}")
    return usable


def _summary(leftovers: Sequence[Leftover]) -> str:
    """Return the name of one, and of several how many there are, how large, and how old."""
    if len(leftovers) == 1:
        return leftovers[0].name
    paths = [one.path for one in leftovers if one.path is not None]
    if not paths:
        return f"{len(leftovers):,} of them"
    with suppress(FileNotFoundError):  # another process uses them, too
        size = sum(one.size() for one in leftovers) / 1_000_000
        ages = sorted(time.time() - path.stat().st_mtime for path in paths)
        youngest, oldest = _duration(ages[0]), _duration(ages[-1])
        return (
            f"{len(leftovers):,} of them, {size:,.1f} MB, last used {youngest} to {oldest} ago, in "
            f"{os.path.commonpath(paths)}"
        )
    return f"{len(leftovers):,} of them"


def _duration(seconds: float) -> str:
    days, hours, minutes = int(seconds // 86_400), int(seconds // 3_600), int(seconds // 60)
    if days:
        return counted(days, "day")
    return counted(hours, "hour") if hours else counted(minutes, "minute")


def examine(backend: Backend) -> Iterator[Check]:
    """Return the outcome of each of the checks of ``backend``, and the same failure once."""
    failures: list[str] = []
    for name, check in backend.checks().items():
        try:
            yield Check(name, True, check())
        except DBTestCaseError as error:
            if str(error) not in failures:
                yield Check(name, False, str(error))
            failures.append(str(error))


def clean(options: Namespace) -> int:
    """List what dbtestcase has kept or left, and remove it if the user says so."""
    databases = options.database or dict.fromkeys([default_database(), *_LOCAL])
    backends, missing = _open(databases, options.closing)
    for name in missing.keys() & set(options.database):
        raise missing[name]
    leftovers = [left for backend in backends.values() for left in backend.leftovers()]
    if not leftovers:
        print("dbtestcase has kept and left nothing behind.")
        return 0
    for leftover in leftovers:
        _print_columns("", leftover.kind, leftover.name)
    if not (options.yes or _agreed(len(leftovers))):
        print("Nothing was removed.")
        return 1
    return _remove(leftovers)


def _remove(leftovers: Iterable[Leftover]) -> int:
    status = 0
    for leftover in leftovers:
        try:
            leftover.remove()
        except (DBTestCaseError, OSError) as error:
            print(f"dbtestcase: cannot remove {leftover.name}: {error}", file=sys.stderr)
            status = 1
    print("Done." if not status else "The rest was removed.")
    return status


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        print("To remove that, add --yes.")
        return False
    question = f"Remove these {count}?" if count > 1 else "Remove it?"
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _default_note(database: str) -> str:
    return "  (what test classes use that name no database)" * (database == default_database())


def _print_columns(state: str, name: str, said: str) -> None:
    first, *rest = said.splitlines()
    print(f"  {state:9}{name:14}{first}".rstrip())
    for line in rest:
        print(" " * 25 + line.strip())


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m dbtestcase", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="doctor | clean")
    for function, summary in (
        (doctor, "say what is here, what is missing, and how to get it"),
        (clean, "list what dbtestcase has kept on this machine or a server, and remove it"),
    ):
        command = commands.add_parser(function.__name__, help=summary, description=summary)
        command.add_argument("database", nargs="*", help="a URL as in the option database")
        command.set_defaults(run=function)
    command.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args(arguments)
