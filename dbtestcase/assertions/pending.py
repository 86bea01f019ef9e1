"""Assertions, and more, that do nothing until a test awaits them, or enters their block."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from sqlalchemy.util import greenlet_spawn

from ..event_loop import running_loop
from ..exceptions import UsageError
from ..statements import caller

__unittest = True  # unittest leaves frames of this module out of failures

if TYPE_CHECKING:
    from types import TracebackType

Result = TypeVar("Result")


class Pending:
    """What an assertion returns that does nothing until it is used."""

    done = "asserted"  # what was not, by then
    forgotten: str  # what a test has not done that only called the assertion
    usage: str  # what it has to write

    def __init__(self, name: str) -> None:
        self.is_used = False
        self.name = name
        self._line = caller()

    def __str__(self) -> str:
        return (
            f"nothing was {self.done} by {self.name} at {self._line}, {self.forgotten}\n"
            f"{self._fix()}"
        )

    def _fix(self) -> str:
        return f"  To fix this, write `{self.usage.format(self.name)}`"

    def _misused(self, instead_of: str) -> UsageError:
        """Return the error for a block that is entered in the way of another kind of block."""
        self.is_used = True
        place = f"{self.name} at {self._line}"
        return UsageError(f"the block of {place} is not for `{instead_of}`\n{self._fix()}")


class _Awaited(Pending):
    """What has to be awaited, in one way or another."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._can_await = running_loop() is not None

    def _fix(self) -> str:
        where = "" if self._can_await else ", in a test that is an `async def`"
        return f"{super()._fix()}{where}"


class PendingCall(_Awaited, Generic[Result]):
    """A call of a method of the async test case, to await.

    :param name: of the method.
    :param call: what it does.
    :param done: a word for that, such as "asserted".
    """

    forgotten = "which was never awaited"
    usage = "await self.{}(...)"

    def __init__(self, name: str, call: Callable[[], Awaitable[Result]], done: str) -> None:
        super().__init__(name)
        self._call = call
        self.done = done

    def __await__(self) -> Generator[Any, None, Result]:
        self.is_used = True
        return self._run().__await__()

    async def _run(self) -> Result:
        try:
            return await self._call()
        except asyncio.CancelledError:  # in a task that the test has not waited for
            self.is_used = False
            raise


class PendingAssertion(PendingCall[None]):
    """An assertion of the async test case, to await."""

    def __init__(self, name: str, check: Callable[[], None]) -> None:
        super().__init__(name, partial(greenlet_spawn, check), "asserted")


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

    if not TYPE_CHECKING:  # where tools say so

        async def __aenter__(self) -> NoReturn:
            raise self._misused("async with")

        async def __aexit__(self, *raised: object) -> None: ...


class AsyncBlock(_Awaited, AbstractAsyncContextManager[Any]):
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

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise self._misused("with")

        def __exit__(self, *raised: object) -> None: ...


def refuse_unused(assertions: Iterable[Pending]) -> None:
    """Fail the test if it has called some of ``assertions`` and not used them."""
    unused = [str(one) for one in assertions if not one.is_used]
    if unused:
        raise AssertionError("\n".join(unused))
