"""The sandbox against a model of what connections to a real database would have committed.

Hypothesis drives three connections and the model side by side. Each connection has rows of its
own, so that a real database would never make one wait for another; what is left to get wrong is
what a commit, a rollback, a savepoint or an error of one connection does to the rows of the others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Table,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from dbtestcase import DatabaseTestCase, InterleavedTransactionsError, StaleConnectionError

from .servers import POSTGRESQL, needs_postgresql

CONNECTIONS = 3
KEYS_EACH = 3

metadata = MetaData()
table = Table(
    "model_rows",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("value", Integer, nullable=False),
)

#: Statements that fail everywhere: before they run, and while they do.
FAILING = [
    "SELECT * FROM missing",
    "SELECT abs(-9223372036854775807 - 1)",
    "DELETE FROM missing",
    "INSERT INTO model_rows VALUES (99, NULL)",
]

Rows = dict[int, int]


class Log:
    """The writes of all connections that have not been undone, in order."""

    def __init__(self) -> None:
        self.now = 0
        self._writes: list[tuple[int, int]] = []  # when, and which connection

    def add(self, writer: int) -> None:
        self.now += 1
        self._writes.append((self.now, writer))

    def undo(self, writer: int, since: int) -> None:
        self._writes = [(when, who) for when, who in self._writes if who != writer or when <= since]

    def interleaves(self, writer: int, since: int) -> bool:
        """Tell whether another connection wrote after what ``writer`` wrote first ``since``."""
        own = [when for when, who in self._writes if who == writer and when > since]
        return bool(own) and any(when > own[0] and who != writer for when, who in self._writes)


@dataclass
class Frame:
    """A transaction or savepoint: when it began, and the rows there were."""

    since: int
    rows: Rows
    name: str = ""  # of a savepoint in plain text
    nested: Any = None  # of any other, SQLAlchemy's NestedTransaction


@dataclass
class Model:
    """One connection: the rows it sees, and those of them it has committed."""

    number: int
    log: Log
    committed: Rows
    aborts: bool  # as in PostgreSQL, a statement that fails aborts the transaction
    rows: Rows = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    autocommits: bool = False
    used: bool = False  # in what its user takes for a transaction
    failed: bool = False  # the transaction has been aborted

    def __post_init__(self) -> None:
        self.rows = dict(self.committed)

    def open(self, engine: Engine, *, autocommits: bool) -> Connection:
        self.autocommits = autocommits
        options = {"isolation_level": "AUTOCOMMIT"} if autocommits else {}
        return engine.connect().execution_options(**options)

    def begin(self, *, explicitly: bool = False, **details: Any) -> None:
        if not self.frames and (explicitly or not self.autocommits):
            self._begin()
        if details:
            self._begin(**details)

    def _begin(self, **details: Any) -> None:
        self.frames.append(Frame(self.log.now, dict(self.rows), **details))

    def write(self, rows: Rows) -> None:
        self.log.add(self.number)
        self.rows = rows
        if not self.frames:
            self.committed = dict(rows)

    def fail(self) -> None:
        """Lose what the innermost savepoint has seen, unless only a rollback can undo that."""
        if self.aborts and self.frames:
            if not self.interleaves(len(self.frames) - 1):
                self.roll_back_to(len(self.frames) - 1)
            self.failed = True

    def commit(self) -> None:
        self.committed = dict(self.rows)
        self.end()

    def end(self) -> None:
        self.frames.clear()
        self.used = self.failed = False

    def roll_back_to(self, index: int) -> None:
        frame = self.frames[index]
        self.log.undo(self.number, frame.since)
        self.rows = dict(frame.rows)
        del self.frames[index + 1 :]
        self.failed = False

    def release(self, index: int) -> None:
        """End a savepoint; the outermost, where none is in a transaction, is one itself."""
        del self.frames[index:]
        if not self.frames:
            self.commit()

    def interleaves(self, index: int) -> bool:
        """Tell whether to undo a frame is to undo the work of another connection."""
        return bool(self.frames) and self.log.interleaves(self.number, self.frames[index].since)

    def innermost_nested(self) -> int:
        """Return the index of SQLAlchemy's innermost savepoint, or 0."""
        nested = [index for index, frame in enumerate(self.frames) if frame.nested is not None]
        return nested[-1] if nested else 0

    def names(self) -> list[str]:
        """Return the names of the savepoints in text that SQLAlchemy knows nothing above of."""
        return [frame.name for frame in self.frames[self.innermost_nested() :] if frame.name]

    def named(self, name: str) -> int:
        """Return the index of the innermost savepoint of this name."""
        return max(index for index, frame in enumerate(self.frames) if frame.name == name)

    def has_committed_all(self) -> bool:
        """Tell whether its rows are those it has committed, whatever of its work is undone."""
        seen = [frame.rows for frame in self.frames] if self.failed else []
        return all(rows == self.committed for rows in [self.rows, *seen])

    # What it may do

    def goes_on(self) -> bool:
        return not self.failed

    def has_rows(self) -> bool:
        return self.goes_on() and bool(self.rows)

    def is_idle(self) -> bool:
        return not self.frames

    def may_nest(self) -> bool:
        return self.goes_on() and not self.autocommits

    def may_release(self) -> bool:
        return self.goes_on() and bool(self.names())

    def may_end_in_text(self) -> bool:
        return bool(self.frames) and not self.innermost_nested()

    def may_end_no_savepoint(self) -> bool:
        return self.aborts or len(self.frames) > 1 or self.autocommits

    def may_savepoint(self) -> bool:
        return self.goes_on() and not self.lacks_transaction()

    def lacks_transaction(self) -> bool:
        """Tell whether it has no transaction, so that it can have no savepoint."""
        return self.aborts and self.autocommits and not self.frames

    def awaits_begin(self) -> bool:
        return self.autocommits and not self.frames


own_keys = st.integers(0, KEYS_EACH - 1)
names = st.sampled_from(["x", "y"])
picks = st.integers(0, 5)


def rule_for(eligible: Callable[[Model], object], **strategies: Any) -> Callable[..., Any]:
    """Make a rule of a method that takes the model of one connection, of those eligible."""

    def decorate(method: Callable[..., None]) -> Any:
        @precondition(lambda self: self.those(eligible))
        @rule(pick=picks, **strategies)
        @functools.wraps(method)
        def run(self: SandboxMachine, pick: int, **drawn: Any) -> None:
            method(self, _picked(pick, self.those(eligible)), **drawn)

        return run

    return decorate


class SandboxMachine(RuleBasedStateMachine):
    """Tests of one class, one after the other, each with several connections."""

    database = "sqlite://"
    aborts = False

    test: DatabaseTestCase | None = None
    models: list[Model] = []
    steps = 0  # of this test

    @initialize(
        class_data=st.booleans(),
        between=st.booleans(),
        pause=st.sampled_from([1, 1, 2, 5, 1000]),
        spies=st.booleans(),
    )
    def set_up_class(self, class_data: bool, between: bool, pause: int, spies: bool) -> None:
        """Begin a class.

        :param class_data: it has ``setUpTestData``.
        :param between: it also writes after that, outside of any test.
        :param pause: so many steps apart the committed rows are looked at.
        :param spies: they are also looked at outside of any test.
        """
        data = {number: number for number in range(CONNECTIONS)} if class_data else {}
        self.pause = pause
        self.spies = spies
        self.case = _case(self.database, data)
        self.case.setUpClass()
        if between:
            data = data | {CONNECTIONS: 1}
            with self.case.engine.begin() as connection:
                connection.execute(insert(table).values(key=CONNECTIONS, value=1))
        self.at_start = data
        self.start_test()

    def teardown(self) -> None:
        if self.test is None:
            return
        with ExitStack() as last:
            last.callback(self.finish_class)
            last.callback(self.finish_test)
            for number in range(CONNECTIONS):
                self.commit_of(self.models[number])
            self.look()

    # The phases of class and test

    def start_test(self) -> None:
        self.test = self.case("nothing")
        self.test.setUp()
        if self.spies:
            assert self.rows() == self.at_start
        self.steps = 0
        log = Log()
        self.models = [
            Model(number, log, _of(number, self.at_start), self.aborts)
            for number in range(CONNECTIONS)
        ]
        *others, last = self.models
        self.connections = [model.open(self.case.engine, autocommits=False) for model in others]
        self.connections.append(last.open(self.case.engine, autocommits=True))

    def finish_test(self, *, announced: bool = False) -> None:
        """End the test with its connections open, and see that nothing has happened.

        :param announced: the sandbox gave up, so the test has to fail.
        """
        assert self.test is not None
        assert self.test.doCleanups() is not announced
        if self.spies:
            assert self.rows() == self.at_start
        for model, connection in zip(self.models, self.connections, strict=True):
            if not announced and (model.used or self.spies):
                stale = _is_stale(connection)
                assert model.used if stale else not model.frames
            connection.close()
        if self.spies:
            assert self.rows() == self.at_start

    def finish_class(self) -> None:
        self.case.doClassCleanups()
        assert not self.case.tearDown_exceptions

    # What connections do

    @rule_for(Model.goes_on, key=own_keys)
    def insert(self, model: Model, key: int) -> None:
        self.insert_of(model, key)

    @rule_for(Model.has_rows, value=st.integers(1, 9))
    def update(self, model: Model, value: int) -> None:
        self.execute(model, update(table).where(_is_of(model.number)).values(value=value))
        model.write(dict.fromkeys(model.rows, value))

    @rule_for(Model.has_rows)
    def delete(self, model: Model) -> None:
        key = max(model.rows)
        self.execute(model, delete(table).where(table.c.key == key))
        model.write({one: value for one, value in model.rows.items() if one != key})

    @rule_for(Model.goes_on)
    def delete_nothing(self, model: Model) -> None:
        self.execute(model, delete(table).where(_is_of(model.number), table.c.value > 99))

    @rule_for(Model.goes_on, sql=st.sampled_from(FAILING))
    def fail(self, model: Model, sql: str) -> None:
        self.fail_of(model, sql)

    @rule_for(Model.has_rows, many=st.booleans())
    def insert_duplicate(self, model: Model, many: bool) -> None:
        """Violate a constraint; with ``many``, after inserting a row, which SQLite keeps."""
        own = {_key(model.number, key) for key in range(KEYS_EACH)}
        good = sorted(own - set(model.rows))[:1] if many and not model.autocommits else []
        rows = [{"key": key, "value": 1} for key in [*good, min(model.rows)]]
        try:
            self.execute(model, insert(table), rows)
        except IntegrityError:
            if good and not model.aborts:
                model.write(model.rows | dict.fromkeys(good, 1))
            model.fail()
        else:
            raise AssertionError("a duplicate key was let in")

    @rule_for(Model.goes_on)
    def read(self, model: Model) -> None:
        seen = self.execute(model, select(table.c.key, table.c.value)).all()
        assert _of(model.number, dict(map(tuple, seen))) == model.rows

    @rule_for(Model.may_nest)
    def begin_nested(self, model: Model) -> None:
        self.begin_nested_of(model)

    @rule_for(Model.innermost_nested, commits=st.booleans())
    def end_nested(self, model: Model, commits: bool) -> None:
        self.end_nested_of(model, commits)

    @rule_for(Model.may_savepoint, key=own_keys, name=names, commits=st.booleans())
    def try_to_insert(self, model: Model, key: int, name: str, commits: bool) -> None:
        """Insert in a savepoint of its own, as code does that expects to fail."""
        if not model.autocommits:
            self.begin_nested_of(model)
            self.insert_of(model, key)
            self.end_nested_of(model, commits)
        else:
            self.savepoint_of(model, name)
            self.insert_of(model, key)
            self.end_savepoint_of(model, name, commits)

    @rule_for(Model.may_nest, key=own_keys, sql=st.sampled_from(FAILING))
    def try_and_fail(self, model: Model, key: int, sql: str) -> None:
        """Insert and fail in a savepoint of its own, and go on."""
        self.begin_nested_of(model)
        self.insert_of(model, key)
        self.fail_of(model, sql)
        self.end_nested_of(model, commits=False)

    @rule_for(Model.may_savepoint, name=names)
    def savepoint(self, model: Model, name: str) -> None:
        """Begin a savepoint, and in SQLite's autocommit mode a transaction with it."""
        self.savepoint_of(model, name)

    @rule_for(Model.lacks_transaction, verb=st.sampled_from(["SAVEPOINT", "RELEASE"]))
    def savepoint_without_transaction(self, model: Model, verb: str) -> None:
        self.refuse(model, f"{verb} x", "transaction block")

    @rule_for(Model.may_release, which=picks)
    def release_savepoint(self, model: Model, which: int) -> None:
        self.end_savepoint_of(model, _picked(which, model.names()), releases=True)

    @rule_for(Model.names, which=picks)
    def roll_back_to_savepoint(self, model: Model, which: int) -> None:
        self.end_savepoint_of(model, _picked(which, model.names()), releases=False)

    @rule_for(
        Model.may_end_no_savepoint, name=names, verb=st.sampled_from(["RELEASE", "ROLLBACK TO"])
    )
    def end_no_savepoint(self, model: Model, name: str, verb: str) -> None:
        """Name a savepoint that has ended, or never began."""
        if name in [frame.name for frame in model.frames]:
            name = "z"
        if model.failed and verb == "RELEASE":
            message = "is aborted"
        else:
            message = "transaction block" if model.lacks_transaction() else "no such savepoint"
        self.refuse(model, f"{verb} {name}", message)
        if model.aborts:  # of which the database has heard nothing, so it has undone nothing
            model.begin()
            model.failed = bool(model.frames)

    @rule_for(
        lambda model: model.failed,
        sql=st.sampled_from(["SELECT 1", "DELETE FROM model_rows", "SAVEPOINT x", "BEGIN", "oops"]),
    )
    def go_on(self, model: Model, sql: str) -> None:
        """Do more in a transaction that has been aborted."""
        self.refuse(model, sql, "current transaction is aborted")

    @rule_for(Model.awaits_begin)
    def begin_in_text(self, model: Model) -> None:
        self.execute(model, text("BEGIN"))
        model.begin(explicitly=True)

    @rule_for(lambda model: True)
    def commit(self, model: Model) -> None:
        self.commit_of(model)

    @rule_for(lambda model: True)
    def roll_back(self, model: Model) -> None:
        self.roll_back_with(model, self.connections[model.number].rollback)

    @rule_for(Model.may_end_in_text, commits=st.booleans())
    def end_in_text(self, model: Model, commits: bool) -> None:
        connection = self.connections[model.number]
        sql = text("COMMIT" if commits else "ROLLBACK")
        if commits and not model.failed:
            connection.execute(sql)
            model.commit()
        else:
            self.roll_back_with(model, lambda: connection.execute(sql))

    @rule_for(lambda model: True, autocommits=st.booleans())
    def reopen(self, model: Model, autocommits: bool) -> None:
        """Close a connection, whether it has committed or not, and open another."""
        if self.roll_back_with(model, self.connections[model.number].close):
            self.connections[model.number] = model.open(self.case.engine, autocommits=autocommits)

    @rule_for(Model.is_idle, key=own_keys, commits=st.booleans(), fails=st.booleans())
    def application(self, model: Model, key: int, commits: bool, fails: bool) -> None:
        """Let another session write rows of a connection that has nothing open.

        :param fails: at first it does what it may not do, and rolls back.
        """
        key = _key(model.number, key)
        with Session(self.case.engine) as session:
            if fails:
                session.execute(delete(table).where(_is_of(model.number)))
                _refuse(session, FAILING[-1], "")
                session.rollback()
            session.execute(delete(table).where(table.c.key == key))
            session.execute(insert(table).values(key=key, value=10))
            if commits:
                session.commit()
                model.write(model.rows | {key: 10})

    @precondition(lambda self: self.steps > 15)
    @rule()
    def next_test(self) -> None:
        self.finish_test()
        self.start_test()

    # How they do it

    def those(self, are: Callable[[Model], object]) -> list[Model]:
        return [model for model in self.models if are(model)]

    def insert_of(self, model: Model, key: int) -> None:
        """Insert a row, or replace the one that is there."""
        key = _key(model.number, key)
        if key in model.rows:
            self.execute(model, delete(table).where(table.c.key == key))
        self.execute(model, insert(table).values(key=key, value=0))
        model.write(model.rows | {key: 0})

    def fail_of(self, model: Model, sql: str) -> None:
        model.begin()
        self.refuse(model, sql, "")
        model.fail()

    def begin_nested_of(self, model: Model) -> None:
        model.begin(nested=self.connections[model.number].begin_nested())
        model.used = True

    def end_nested_of(self, model: Model, commits: bool) -> None:
        index = model.innermost_nested()
        frame = model.frames[index]
        if commits and model.failed:
            _refuse_to(frame.nested.commit, "current transaction is aborted")
            frame.nested.rollback()  # which to SQLAlchemy has nothing left to do
            frame.nested = None
        elif commits:
            frame.nested.commit()
            model.release(index)
        elif self.undo(model, index, frame.nested.rollback):
            frame.nested = None

    def savepoint_of(self, model: Model, name: str) -> None:
        self.execute(model, text(f"SAVEPOINT {name}"))
        model.begin(name=name)

    def end_savepoint_of(self, model: Model, name: str, releases: bool) -> None:
        index = model.named(name)
        if releases:
            self.execute(model, text(f"RELEASE {name}"))
            model.release(index)
        else:
            connection = self.connections[model.number]
            self.undo(model, index, lambda: connection.execute(text(f"ROLLBACK TO {name}")))

    def commit_of(self, model: Model) -> None:
        if model.failed:
            self.roll_back_with(model, self.connections[model.number].commit)
        else:
            self.connections[model.number].commit()
            model.commit()

    def roll_back_with(self, model: Model, action: Callable[[], object]) -> bool:
        """End a transaction; False if the test had to end with it."""
        undone = self.undo(model, 0, action)
        if undone:
            model.end()
        return undone

    def execute(self, model: Model, *arguments: Any) -> Any:
        model.begin()
        model.used = True
        return self.connections[model.number].execute(*arguments)

    def refuse(self, model: Model, sql: str, message: str) -> None:
        """Let a connection execute what has to fail with that message."""
        model.used = True
        _refuse(self.connections[model.number], sql, message)

    def undo(self, model: Model, index: int, action: Callable[[], object]) -> bool:
        """Undo a frame; where one transaction cannot represent that, begin the next test."""
        try:
            action()
        except InterleavedTransactionsError:
            expected = model.interleaves(index)
            self.finish_test(announced=True)
            self.start_test()
            assert expected, "no work of another connection was in danger"
            return False
        if model.frames:
            assert not model.interleaves(index), "the work of another connection is gone"
            model.roll_back_to(index)
        return True

    # What must hold

    @invariant()
    @precondition(lambda self: self.test is not None)
    def committed_rows_are_there(self) -> None:
        self.steps += 1
        if self.steps % self.pause == 0:
            self.look()

    def look(self) -> None:
        """Look from outside at the rows of each connection that has nothing uncommitted."""
        rows = self.rows()
        for model in self.those(Model.has_committed_all):
            assert _of(model.number, rows) == model.committed, f"connection {model.number}"

    def rows(self) -> Rows:
        with self.case.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT key, value FROM model_rows")
            return dict(found.cursor.fetchall())


class PostgreSQLMachine(SandboxMachine):
    """The same where an error aborts the transaction."""

    database = POSTGRESQL
    aborts = True


def _case(database_url: str, data: Rows) -> type[DatabaseTestCase]:
    """Return a test class, with ``data`` as its class data if there is any."""

    class Case(DatabaseTestCase):
        database = database_url
        metadata = table.metadata

        def nothing(self) -> None: ...

    class CaseWithData(Case):
        @classmethod
        def setUpTestData(cls, session: Session) -> None:
            rows = [{"key": key, "value": value} for key, value in data.items()]
            session.execute(insert(table), rows)

    return CaseWithData if data else Case


def _picked(pick: int, eligible: list[Any]) -> Any:
    return eligible[pick % len(eligible)]


def _key(number: int, own_key: int) -> int:
    return own_key * CONNECTIONS + number


def _is_of(number: int) -> ColumnElement[bool]:
    return table.c.key % CONNECTIONS == number


def _of(number: int, rows: Rows) -> Rows:
    """Return the rows of one connection."""
    return {key: value for key, value in rows.items() if key % CONNECTIONS == number}


def _is_stale(connection: Connection) -> bool:
    try:
        connection.execute(text("SELECT 1"))
    except StaleConnectionError:
        return True
    return False


def _refuse(executor: Connection | Session, sql: str, message: str) -> None:
    _refuse_to(lambda: executor.execute(text(sql)), message)


def _refuse_to(action: Callable[[], object], message: str) -> None:
    try:
        action()
    except DBAPIError as error:
        assert message in str(error), str(error)
    else:
        raise AssertionError("what has to fail did not")


def _runs(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],  # which a loaded machine is
        phases=[Phase.generate, Phase.shrink],
    )


TestSandbox = SandboxMachine.TestCase
TestSandbox.settings = _runs(150)

TestSandboxOnPostgreSQL = needs_postgresql(PostgreSQLMachine.TestCase)
TestSandboxOnPostgreSQL.settings = _runs(75)
