"""Assertions that have asserted nothing until a test awaits them, or enters their block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import greenlet_spawn

from ..statements import caller

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from types import TracebackType


class Pending:
    """What an assertion returns that does nothing until it is used."""

    forgotten: str  # what a test has not done that only called the assertion
    usage: str  # what it has to write

    def __init__(self, name: str) -> None:
        self.is_used = False
        self.name = name
        self._line = caller()

    def __str__(self) -> str:
        return (
            f"nothing was asserted by {self.name} at {self._line}, {self.forgotten}\n"
            f"  To fix this, write `{self.usage.format(self.name)}`"
        )


class PendingAssertion(Pending):
    """An assertion of the async test case, to await."""

    forgotten = "which was never awaited"
    usage = "await self.{}(...)"

    def __init__(self, name: str, check: Callable[[], None]) -> None:
        super().__init__(name)
        self._check = check

    def __await__(self) -> Generator[Any, None, None]:
        self.is_used = True
        return self._run().__await__()

    async def _run(self) -> None:
        try:
            await greenlet_spawn(self._check)
        except asyncio.CancelledError:  # in a task that the test has not waited for
            self.is_used = False
            raise


class Block(Pending, AbstractContextManager[Any]):
    """An assertion about a block, for ``with``."""

    forgotten = "whose block was never entered"
    usage = "with self.{}(...):"

    def __init__(self, name: str, block: AbstractContextManager[Any, bool | None]) -> None:
        super().__init__(name)
        self._block = block

    def __enter__(self) -> Any:
        self.is_used = True
        return self._block.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._block.__exit__(kind, error, traceback)


class AsyncBlock(Pending, AbstractAsyncContextManager[Any]):
    """One of the async test case, entered and left where connections may be used."""

    forgotten = "whose block was never entered"
    usage = "async with self.{}(...):"

    def __init__(self, name: str, block: AbstractContextManager[Any, bool | None]) -> None:
        super().__init__(name)
        self._block = block

    async def __aenter__(self) -> Any:
        self.is_used = True
        return await greenlet_spawn(self._block.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await greenlet_spawn(self._block.__exit__, kind, error, traceback)


def refuse_unused(assertions: Iterable[Pending]) -> None:
    """Fail the test if it has called some of ``assertions`` and not used them."""
    unused = [str(one) for one in assertions if not one.is_used]
    if unused:
        raise AssertionError("\n".join(unused))
