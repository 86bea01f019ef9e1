"""A server whose disk is full."""

from __future__ import annotations

import unittest
from typing import Any

from dbtestcase.provision import provisioner

from . import inner, test_losses
from .faults import reporting, tried
from .own_servers import OwnPostgreSQLOnASmallDisk
from .small_disks import needs_small_disks
from .test_losses import EACH, case
from .test_postgres_server import needs_it


@needs_it
@needs_small_disks
@reporting
class OfPostgreSQL(unittest.TestCase):
    title = "PostgreSQL"

    def setUp(self) -> None:
        self.server = OwnPostgreSQLOnASmallDisk(self.enterContext(inner.directory()))
        self.addCleanup(self.server.stop)
        self.addCleanup(provisioner.close)
        self.server.start()

    def case(self, base: Any, isolation: str) -> Any:
        return case(base, self.server.url, isolation)

    @tried("its disk is full", "the server", "refused")
    def test_full(self) -> None:
        for base in (test_losses.Sync, test_losses.Async):
            self.server.fill()
            for isolation in EACH:
                with self.subTest(isolation, base=base.__name__):
                    message = inner.only_error(self, inner.run(self.case(base, isolation)))
                    self.assertIn("No space left on device", message)
                    self.assertIn("  To fix this, make room on the disk", message)
            self.server.make_room()
            provisioner.close()  # what failed once is not tried again by the same process
            inner.passed(self, inner.run(*[self.case(base, one) for one in EACH]), len(EACH))
            provisioner.close()
