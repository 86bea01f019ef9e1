"""Whether a PostgreSQL server is ready for its clients."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path
from typing import BinaryIO

#: The classes of errors that no waiting helps against: its files are lost or damaged.
_LASTING = (b"58", b"XX")
_STARTUP = b"user\0postgres\0database\0postgres\0\0"


class RefusedError(Exception):
    """The server says that it cannot work with the files that it has."""


def answers(path: Path, deadline: float) -> bool:
    """Tell whether the server at a socket answers a query, in PostgreSQL's protocol 3.0.

    :param deadline: until when to wait for it, by ``time.monotonic()``.
    :raises RefusedError: it answers that it never will.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(max(deadline - time.monotonic(), 0.1))
        try:
            client.connect(os.fspath(path))
            client.sendall(struct.pack("!II", len(_STARTUP) + 8, 3 << 16) + _STARTUP)
            with client.makefile("rb") as said:
                if not _reads_until_ready(said):
                    return False
                client.sendall(b"Q" + struct.pack("!I", 13) + b"SELECT 1\0")
                answered = _reads_until_ready(said)
                client.sendall(b"X" + struct.pack("!I", 4))
                said.read()  # until it is done with us
                return answered
        except OSError:
            return False


def _reads_until_ready(said: BinaryIO) -> bool:
    while len(header := said.read(5)) == 5:
        kind, length = struct.unpack("!cI", header)
        content = said.read(length - 4)
        if kind == b"Z":
            return True
        if kind == b"E":
            fields = {field[:1]: field[1:] for field in content.split(b"\0")}
            if fields.get(b"C", b"").startswith(_LASTING):
                raise RefusedError(fields.get(b"M", b"").decode(errors="replace"))
            return False
    return False
