"""Servers of our own, each in a private directory, gone with the process that started them."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

from ..at_exit import call_at_exit
from ..exceptions import BackendError
from .dead_servers import (
    PREFIX,
    SOCKET,
    dead_servers,
    hold,
    refuses,
    remove_server,
    stop_server,
)
from .readiness import RefusedError, answers

#: Runs the server until the pipe at its standard output says a line or closes, be it because we
#: were killed; then ends the server and removes its directory.
_SUPERVISOR = """
directory=$1 signal=$2 last=$3 patience=250; shift 3
exec 3<&0
"$@" <&3 >&2 3<&- &
server=$!
echo "$server $signal" >"$directory/process"
{
    read -r _ <&1
    # Again, as one that has just begun to boot may not have listened.
    until [ -e "$directory/exit" ] || ! kill -"$signal" "$server"; do
        sleep 0.02; [ $((patience -= 1)) -gt 0 ] || signal=$last
    done
} 3<&- 2>/dev/null &
exec 3<&-
wait "$server"
echo $? >"$directory/exit"
wait; rm -rf "$directory"
"""
_LONGEST_PATH = 103  # of a Unix socket; Linux has room for 107 bytes


class Account(NamedTuple):
    """A user of the operating system."""

    name: str
    uid: int
    gid: int


class PrivateServer(ABC):
    """A PostgreSQL server on a Unix socket, in a directory that only this user can enter.

    It ends with the process that launched it, however that ends. After a fork the child has none
    until it launches its own.
    """

    #: What error messages call it.
    title: ClassVar[str]

    #: The signals, without ``SIG``, that end it, and that do if it has not ended for seconds.
    _signals: ClassVar[tuple[str, str]]

    #: Seconds that it may take to answer its first query.
    patience: float = 60.0

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path()
        self._lifeline = -1  # the supervisor ends the server when this closes
        self._hold = -1  # what later runs see that the directory is in use by
        self._owner = 0
        self._answered = False

    @abstractmethod
    def _start(self, directory: Path) -> None:
        """Start the server in ``directory``, by :meth:`_supervise`."""

    def _place(self) -> Path | None:
        """Return what to make the private directory in; None for wherever temporary files go."""
        return None

    @abstractmethod
    def found(self) -> str:
        """Return what it would run, in words.

        :raises BackendError: there is nothing to run.
        """

    def left(self) -> list[Path]:
        """Return the directories of servers whose processes were killed with those above them."""
        parents = {self._place() or Path(tempfile.gettempdir()), Path("/tmp")}  # noqa: S108
        return [path for parent in parents for path in dead_servers(parent, self._owners())]

    def _owners(self) -> set[int]:
        """Return whom its private directories may belong to."""
        return {os.geteuid()}

    @property
    def socket_directory(self) -> Path:
        """The directory of its socket: ``host`` in a connection string.

        :raises BackendError: it has not been launched.
        """
        if not self.is_launched():
            raise BackendError(f"{self.title} is not running here; call launch() first")
        return self._directory

    def launch(self) -> None:
        """Start the server, and return while it boots; harmless when called again.

        :raises BackendError: it cannot be installed, found, or started.
        """
        with self._lock:
            if self.is_launched():
                return
            self._forget()
            directory = _private_directory(self._place())
            held = hold(directory)
            try:
                self._start(directory)
            except BaseException:
                os.close(held)
                shutil.rmtree(directory, ignore_errors=True)
                raise
            self._hold = held
            call_at_exit(self.stop)
            for path in self.left():
                with contextlib.suppress(OSError):  # another process removes it
                    remove_server(path)

    def wait(self) -> None:
        """Return when the server has answered a query; launch it if need be.

        :raises BackendError: it ended, or did not answer in time; says what it wrote.
        """
        with self._lock:
            self.launch()
            deadline = time.monotonic() + self.patience
            while not self._answered:
                try:
                    self._answered = answers(self._directory / SOCKET, deadline)
                except RefusedError as error:
                    raise self._failure(f"cannot work with its files: {error}") from error
                if not self._answered:
                    if not self.is_alive():
                        raise self._failure("ended before it answered")
                    if time.monotonic() > deadline:
                        raise self._failure(f"did not answer for {self.patience:.0f} seconds")
                    time.sleep(0.003)
            self.check(connecting=False)

    def check(self, *, connecting: bool) -> None:
        """Find out whether the server, which has answered, can still be connected to.

        :param connecting: try it, as its supervisor may not have noticed yet that it has ended.
        :raises BackendError: it cannot, and was stopped; says what it wrote.
        """
        with self._lock:
            if not (self._answered and self.is_launched()):
                return
            socket = self._directory / SOCKET
            if not self.is_alive() or (connecting and socket.exists() and refuses(socket)):
                raise self._failure("has ended")
            if not socket.exists():
                raise self._failure(
                    "has lost its socket, which somebody has removed, and was ended"
                )

    def is_alive(self) -> bool:
        """Tell whether this process launched it and it has not ended."""
        process = self._process
        return (
            self.is_launched()
            and process is not None
            and process.poll() is None
            and not (self._directory / "exit").exists()
        )

    def stop(self) -> None:
        """End the server and remove its directory; harmless when called again."""
        with self._lock:
            process = self._process
            if process is None or not self.is_launched():
                self._forget()
                return
            atexit.unregister(self.stop)
            with contextlib.suppress(BrokenPipeError):
                # A child that we forked may hold a copy of the pipe, so closing it says nothing.
                os.write(self._lifeline, b"\n")
            deadline = time.monotonic() + 10
            while process.poll() is None:
                if time.monotonic() > deadline:
                    os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.002)  # Popen.wait() would sleep ever longer
            stop_server(self._directory)  # should its supervisor have been killed
            self._forget()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _supervise(
        self,
        command: Sequence[str | Path],
        directory: Path,
        *,
        stdin: BinaryIO | int = subprocess.DEVNULL,
        account: Account | None = None,
        descriptors: Collection[int] = (),
    ) -> None:
        """Run ``command``, with ``descriptors`` open, until this process stops or dies."""
        self._directory = directory
        self._owner = os.getpid()
        self._answered = False
        reader, self._lifeline = os.pipe()
        try:
            with (directory / "log").open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603
                    ["/bin/sh", "-c", _SUPERVISOR, "sh", directory, *self._signals, *command],
                    stdin=stdin,
                    stdout=reader,
                    stderr=log,
                    cwd=directory,
                    start_new_session=True,  # Ctrl-C is for us to handle
                    pass_fds=descriptors,
                    user=account and account.uid,
                    group=account and account.gid,
                    extra_groups=account and (),
                )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reader)

    def is_launched(self) -> bool:
        """Tell whether this process launched it, though it may have ended since."""
        return self._process is not None and self._owner == os.getpid()

    def _forget(self) -> None:
        """Let go of the process, which has ended or is our parent's, without a warning."""
        if self._process is not None:
            os.close(self._lifeline)
            os.close(self._hold)
            self._process.returncode = self._process.returncode or 0
            self._process = None

    def _failure(self, what: str) -> BackendError:
        said = (self._directory / "log").read_bytes()[-2000:].decode(errors="replace").strip()
        self.stop()
        return BackendError(f"{self.title} {what}. It said:\n{said or '(nothing)'}")


def _private_directory(parent: Path | None) -> Path:
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    if len(os.fsencode(directory / SOCKET)) > _LONGEST_PATH:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    return directory
