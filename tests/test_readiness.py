"""What a PostgreSQL server answers to its first client, and whether that is worth waiting for."""

from __future__ import annotations

import socket
import struct
import threading
import time
import unittest

from dbtestcase.backends.readiness import RefusedError, answers

from . import inner
from .waiting import PATIENCE

READY = b"Z" + struct.pack("!Ic", 5, b"I")


def error(code: bytes) -> bytes:
    """Return the message of a server that ends a connection with an error."""
    content = b"SFATAL\0C" + code + b"\0Mcould not open file\0\0"
    return b"E" + struct.pack("!I", len(content) + 4) + content


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "no sockets in the file system")
class FirstAnswer(unittest.TestCase):
    def ask(self, *said: bytes) -> bool:
        """Return what is made of a server that says so much, each time that it is spoken to."""
        path = self.enterContext(inner.directory()) / "socket"
        listener = self.enterContext(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                for message in said:
                    client.recv(1000)
                    client.sendall(message)
                if said:
                    client.recv(1000)  # which says that it is done with us

        server = threading.Thread(target=serve)
        server.start()
        self.addCleanup(server.join)
        return answers(path, time.monotonic() + PATIENCE)

    def test_a_query_is_answered(self) -> None:
        self.assertTrue(self.ask(READY, READY))

    def test_not_yet(self) -> None:
        for code in (b"57P03", b"53300"):  # it starts, or has too many clients
            self.assertFalse(self.ask(error(code)))
        self.assertFalse(self.ask(READY, error(b"57P01")))
        self.assertFalse(self.ask())

    def test_never(self) -> None:
        for said in ((error(b"58P01"),), (error(b"XX001"),), (READY, error(b"XX000"))):
            with self.assertRaisesRegex(RefusedError, "^could not open file$"):
                self.ask(*said)
