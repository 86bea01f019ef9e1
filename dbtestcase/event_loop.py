"""Event loops: one for all tests of a class, and one for a moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

Result = TypeVar("Result")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

#: The name of tasks that others wait for, so that it is those others who are to be cancelled.
AWAITED = "awaited by a task of dbtestcase"


def run_alone(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run ``coroutine`` in a loop of its own, without touching the thread's current loop."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def workers_now() -> tuple[object, ...]:
    """Return the thread that calls this, and the task if it is in one."""
    thread = threading.current_thread()
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs here
        task = None
    return (thread,) if task is None else (thread, task)


class ClassLoop:
    """The event loop of a test class, from ``setUpClass`` to its class clean-ups."""

    def __init__(self, loop_factory: LoopFactory | None) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory)

    def run(
        self, coroutine: Coroutine[Any, Any, Result], *, context: Context | None = None
    ) -> Result:
        """Run ``coroutine`` until it is done and return its result."""
        return self._runner.run(coroutine, context=context)

    def borrow(self) -> BorrowedRunner:
        """Return a runner for one test, which makes the loop the current one again."""
        asyncio.set_event_loop(self._runner.get_loop())
        return BorrowedRunner(self)

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks that are not done, and that nobody waits for to the end."""
        tasks = asyncio.all_tasks(self._runner.get_loop())
        return {task for task in tasks if task.get_name() != AWAITED}

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop itself."""
        return self._runner.get_loop()

    def close(self) -> None:
        """Cancel what is left and close the loop."""
        self._runner.close()


def other_workers(loop: ClassLoop | None) -> set[object]:
    """Return the threads that there are beside this one, and the tasks of ``loop``."""
    threads = {*threading.enumerate()} - {threading.current_thread()}
    return {*threads, *(() if loop is None else loop.tasks())}


class BorrowedRunner:
    """What ``IsolatedAsyncioTestCase`` asks of its ``asyncio.Runner``, in the loop of the class.

    Tasks that are older than the test go on after it.
    """

    def __init__(self, loop: ClassLoop) -> None:
        self._loop = loop
        self._older = loop.tasks()
        self._closed = False
        self.get_loop = loop.get_loop
        self.run = loop.run

    def cancel_tasks(self) -> None:
        """Cancel what the test has left and wait until it is gone."""
        left = self._loop.tasks() - self._older
        if left:
            self._loop.run(_cancel(left))

    def close(self) -> None:
        """End the test; harmless when called again."""
        if not self._closed:
            self._closed = True
            self.cancel_tasks()


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel ``tasks``, wait for them, and report what they raise, as ``asyncio.run`` does."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {
                    "message": "unhandled exception while cancelling a task that a test left",
                    "exception": task.exception(),
                    "task": task,
                }
            )
