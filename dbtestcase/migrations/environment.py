"""Running ``env.py``, as it is, on a connection that is lent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from ..event_loop import running_loop
from ..exceptions import DBTestCaseError, OptionError
from ..lending import IN_THREAD, Loan, lending
from ..logging_state import logging_kept
from .reports import describe
from .source import MigrationSource

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: Yields what is to be done, from where the database stands.
Steps = Callable[[tuple[str, ...], MigrationContext], Iterable[RevisionStep]]


class Environment:
    """What ``env.py`` imports as ``alembic.context``, and what becomes of it.

    :param steps: yields what its ``run_migrations()`` is to do.
    :param loan: the connection that it must do that on.
    :param commits_each: let each step have a transaction of its own, as if deployed by itself.
    :param target: the revision that ``env.py`` is told.
    :param dont_mutate: do not create Alembic's table either.
    """

    def __init__(
        self,
        source: MigrationSource,
        steps: Steps,
        loan: Loan,
        *,
        commits_each: bool = False,
        target: str = "heads",
        dont_mutate: bool = False,
    ) -> None:
        self._source = source
        self._wanted = steps
        self._loan = loan
        self._commits_each = commits_each
        self._step: RevisionStep | None = None  # that is being done, or failed
        self._has_run = False
        self._config: Any = source.config()
        self._config.set_main_option("sqlalchemy.url", loan.url)
        make: Any = EnvironmentContext
        self._context = make(
            self._config,
            source.scripts,
            fn=self._steps,
            destination_rev=target,
            dont_mutate=dont_mutate,
        )
        self._env_py = self._context.script.env_py_location
        self._configure_context = self._context.configure
        self._context.configure = self._configure

    def run(self) -> None:
        """Run ``env.py``.

        :raises OptionError: it did not do what such a file does.
        """
        try:
            with (
                self._source.on_path(),
                self._source.explaining(),
                logging_kept(),
                self._loan.connect() as connection,
                self._context,
            ):
                self._config.attributes["connection"] = connection
                outside_of_loops(self._context.script.run_env)
        except Exception as error:
            if self._step is not None or not isinstance(error, DBTestCaseError):
                error.add_note(describe(error, self._step, self._env_py))
            raise
        if not self._has_run and self._loan.is_missed:
            raise self._wrong(*IN_THREAD)
        if not self._has_run:
            raise self._wrong("did not call context.run_migrations()", "let it do so")

    def _configure(self, connection: Any = None, *more: Any, **options: Any) -> None:
        """Take the options of ``env.py``, and its connection, if that is the one it was lent."""
        if options.get("upgrade_token", "upgrades") != "upgrades":
            raise self._wrong("migrates several databases at once, and a database of a test is one")
        if connection is None:
            raise self._wrong(
                "calls context.configure() without a connection, as for offline mode",
                "call it with connection=… where context.is_offline_mode() is false",
            )
        if not self._loan.is_of(connection):
            raise self._wrong(
                f"connects to {connection.engine.url!r} in a thread of its own, where the "
                "database of the test cannot take its place",
                "use config.attributes['connection'], which is there, or connect without a thread",
            )
        if self._commits_each:
            options["transaction_per_migration"] = True
        options.setdefault("compare_server_default", True)
        self._configure_context(connection, *more, **options)

    def _steps(self, heads: Any, context: MigrationContext) -> Iterator[RevisionStep]:
        self._has_run = True
        for step in self._wanted(heads, context):
            self._step = step
            if self._commits_each:
                context.impl.memo.clear()  # of types that exist, which is for one deployment
            yield step
            self._step = None

    def _wrong(self, what: str, fix: str = "") -> OptionError:
        hint = f"\n  To fix this, {fix}" if fix else ""
        return OptionError(f"{self._source.title}: {self._env_py} {what}.{hint}")


def run(source: MigrationSource, connection: Connection, steps: Steps, **options: Any) -> None:
    """Let ``env.py`` do ``steps`` on ``connection``; options are those of :class:`Environment`.

    :raises OptionError: it cannot, for a reason that lies in ``env.py`` or its configuration.
    :raises Exception: what a revision raised, with a note that says where.
    """
    with lending(connection) as loan:
        Environment(source, steps, loan, **options).run()


def outside_of_loops(function: Callable[[], Any]) -> Any:
    """Return ``function()``, called in a thread where this one runs an event loop.

    An ``env.py`` that calls ``asyncio.run()`` would be refused that here.
    """
    if running_loop() is None:
        return function()
    if in_greenlet():
        return await_only(asyncio.to_thread(function))
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(copy_context().run, function).result()
