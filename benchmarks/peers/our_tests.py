"""The same tests with dbtestcase, in the class and under the isolation that ``KIND`` says."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.models import Base, work, work_async
from benchmarks.peers.timing import TESTS
from dbtestcase import AsyncDatabaseTestCase, DatabaseTestCase

_KIND = os.environ["KIND"]


def _test(self: Any) -> None:
    work(self.session)


async def _async_test(self: Any) -> None:
    await work_async(self.session)


_test_of_kind: Any = _async_test if _KIND == "async" else _test

Case = type(
    "Case",
    (AsyncDatabaseTestCase if _KIND == "async" else DatabaseTestCase,),
    {
        "metadata": Base.metadata,
        "isolation": "template" if _KIND == "template" else "transaction",
        **{f"test_{_KIND}_{number:05}": _test_of_kind for number in TESTS},
    },
)
