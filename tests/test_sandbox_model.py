"""The sandbox against a model of what connections to a real database would have committed.

Hypothesis drives three connections and the model side by side. Each connection has rows of its
own, so that a real database would never make one wait for another; what is left to get wrong is
what a commit, a rollback or a savepoint of one connection does to the rows of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import Phase, settings
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
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from dbtestcase import DatabaseTestCase, InterleavedTransactionsError, StaleConnectionError

CONNECTIONS = 3
KEYS_EACH = 3

metadata = MetaData()
table = Table(
    "model_rows",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("value", Integer, nullable=False),
)

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
    rows: Rows = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    autocommits: bool = False
    used: bool = False  # in what its user takes for a transaction

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

    def commit(self) -> None:
        self.committed = dict(self.rows)
        self.end()

    def end(self) -> None:
        self.frames.clear()
        self.used = False

    def roll_back_to(self, index: int) -> None:
        frame = self.frames[index]
        self.log.undo(self.number, frame.since)
        self.rows = dict(frame.rows)
        del self.frames[index + 1 :]

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

    def has_rows(self) -> bool:
        return bool(self.rows)

    def may_end_in_text(self) -> bool:
        return bool(self.frames) and not self.innermost_nested()

    def may_end_no_savepoint(self) -> bool:
        return len(self.frames) > 1 or self.autocommits

    def awaits_begin(self) -> bool:
        return self.autocommits and not self.frames


numbers = st.integers(0, CONNECTIONS - 1)
own_keys = st.integers(0, KEYS_EACH - 1)
names = st.sampled_from(["x", "y"])
picks = st.integers(0, 5)


class SandboxMachine(RuleBasedStateMachine):
    """Tests of one class, one after the other, each with several connections."""

    test: DatabaseTestCase | None = None
    models: list[Model] = []
    steps = 0  # of this test

    @initialize(class_data=st.booleans(), between=st.booleans())
    def set_up_class(self, class_data: bool, between: bool) -> None:
        """Begin a class.

        :param class_data: it has ``setUpTestData``.
        :param between: it also writes after that, outside of any test.
        """
        data = {number: number for number in range(CONNECTIONS)} if class_data else {}
        self.case = _case(data)
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
                self.commit(number)
            self.committed_rows_are_there()

    # The phases of class and test

    def start_test(self) -> None:
        self.test = self.case("nothing")
        self.test.setUp()
        assert self.rows() == self.at_start
        self.steps = 0
        log = Log()
        self.models = [
            Model(number, log, _of(number, self.at_start)) for number in range(CONNECTIONS)
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
        assert self.rows() == self.at_start
        for model, connection in zip(self.models, self.connections, strict=True):
            if not announced:
                stale = _is_stale(connection)
                assert model.used if stale else not model.frames
            connection.close()
        assert self.rows() == self.at_start

    def finish_class(self) -> None:
        self.case.doClassCleanups()
        assert not self.case.tearDown_exceptions

    # What connections do

    @rule(number=numbers, key=own_keys)
    def insert(self, number: int, key: int) -> None:
        """Insert a row, or replace the one that is there."""
        model, key = self.models[number], _key(number, key)
        if key in model.rows:
            self.execute(number, delete(table).where(table.c.key == key))
        self.execute(number, insert(table).values(key=key, value=0))
        model.write(model.rows | {key: 0})

    @precondition(lambda self: self.those(Model.has_rows))
    @rule(pick=picks, value=st.integers(1, 9))
    def update(self, pick: int, value: int) -> None:
        model = _picked(pick, self.those(Model.has_rows))
        self.execute(model.number, update(table).where(_is_of(model.number)).values(value=value))
        model.write(dict.fromkeys(model.rows, value))

    @precondition(lambda self: self.those(Model.has_rows))
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        model = _picked(pick, self.those(Model.has_rows))
        key = max(model.rows)
        self.execute(model.number, delete(table).where(table.c.key == key))
        model.write({one: value for one, value in model.rows.items() if one != key})

    @rule(number=numbers)
    def delete_nothing(self, number: int) -> None:
        self.execute(number, delete(table).where(_is_of(number), table.c.value > 99))

    @precondition(lambda self: self.those(Model.has_rows))
    @rule(pick=picks, many=st.booleans())
    def insert_duplicate(self, pick: int, many: bool) -> None:
        """Violate a constraint; with ``many``, after inserting a row that stays."""
        model = _picked(pick, self.those(Model.has_rows))
        own = {_key(model.number, key) for key in range(KEYS_EACH)}
        good = sorted(own - set(model.rows))[:1] if many and not model.autocommits else []
        rows = [{"key": key, "value": 1} for key in [*good, min(model.rows)]]
        try:
            self.execute(model.number, insert(table), rows)
        except IntegrityError:
            if good:
                model.write(model.rows | dict.fromkeys(good, 1))
        else:
            raise AssertionError("a duplicate key was let in")

    @rule(number=numbers)
    def read(self, number: int) -> None:
        seen = self.execute(number, select(table.c.key, table.c.value)).all()
        assert _of(number, dict(map(tuple, seen))) == self.models[number].rows

    @precondition(lambda self: self.those(lambda model: not model.autocommits))
    @rule(pick=picks)
    def begin_nested(self, pick: int) -> None:
        self.begin_nested_of(_picked(pick, self.those(lambda model: not model.autocommits)))

    @precondition(lambda self: self.those(Model.innermost_nested))
    @rule(pick=picks, commits=st.booleans())
    def end_nested(self, pick: int, commits: bool) -> None:
        self.end_nested_of(_picked(pick, self.those(Model.innermost_nested)), commits)

    @rule(number=numbers, key=own_keys, name=names, commits=st.booleans())
    def try_to_insert(self, number: int, key: int, name: str, commits: bool) -> None:
        """Insert in a savepoint of its own, as code does that expects to fail."""
        model = self.models[number]
        if not model.autocommits:
            self.begin_nested_of(model)
            self.insert(number, key)
            self.end_nested_of(model, commits)
        else:
            self.savepoint(number, name)
            self.insert(number, key)
            self.end_savepoint_of(model, name, commits)

    @rule(number=numbers, name=names)
    def savepoint(self, number: int, name: str) -> None:
        """Begin a savepoint, and in autocommit mode a transaction with it."""
        self.execute(number, text(f"SAVEPOINT {name}"))
        self.models[number].begin(name=name)

    @precondition(lambda self: self.those(Model.names))
    @rule(pick=picks, which=picks, releases=st.booleans())
    def end_savepoint(self, pick: int, which: int, releases: bool) -> None:
        model = _picked(pick, self.those(Model.names))
        self.end_savepoint_of(model, _picked(which, model.names()), releases)

    @precondition(lambda self: self.those(Model.may_end_no_savepoint))
    @rule(pick=picks, name=names, verb=st.sampled_from(["RELEASE", "ROLLBACK TO"]))
    def end_no_savepoint(self, pick: int, name: str, verb: str) -> None:
        """Name a savepoint that has ended, or never began."""
        model = _picked(pick, self.those(Model.may_end_no_savepoint))
        if name in [frame.name for frame in model.frames]:
            name = "z"
        model.used = True
        try:
            self.connections[model.number].execute(text(f"{verb} {name}"))
        except OperationalError as error:
            assert "no such savepoint" in str(error)
        else:
            raise AssertionError("a savepoint was ended that never began")

    @precondition(lambda self: self.those(Model.awaits_begin))
    @rule(pick=picks)
    def begin_in_text(self, pick: int) -> None:
        model = _picked(pick, self.those(Model.awaits_begin))
        self.execute(model.number, text("BEGIN"))
        model.begin(explicitly=True)

    @rule(number=numbers)
    def commit(self, number: int) -> None:
        self.connections[number].commit()
        self.models[number].commit()

    @rule(number=numbers)
    def roll_back(self, number: int) -> None:
        if self.undo(number, 0, self.connections[number].rollback):
            self.models[number].end()

    @precondition(lambda self: self.those(Model.may_end_in_text))
    @rule(pick=picks, commits=st.booleans())
    def end_in_text(self, pick: int, commits: bool) -> None:
        model = _picked(pick, self.those(Model.may_end_in_text))
        connection = self.connections[model.number]
        if commits:
            connection.execute(text("COMMIT"))
            model.commit()
        elif self.undo(model.number, 0, lambda: connection.execute(text("ROLLBACK"))):
            model.end()

    @rule(number=numbers, autocommits=st.booleans())
    def reopen(self, number: int, autocommits: bool) -> None:
        """Close a connection, whether it has committed or not, and open another."""
        if self.undo(number, 0, self.connections[number].close):
            model = self.models[number]
            model.end()
            self.connections[number] = model.open(self.case.engine, autocommits=autocommits)

    @precondition(lambda self: self.those(lambda model: not model.frames))
    @rule(pick=picks, key=own_keys, commits=st.booleans())
    def application(self, pick: int, key: int, commits: bool) -> None:
        """Let another session write rows of a connection that has nothing open."""
        model = _picked(pick, self.those(lambda model: not model.frames))
        key = _key(model.number, key)
        with Session(self.case.engine) as session:
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

    def those(self, are: Callable[[Model], object]) -> list[Model]:
        return [model for model in self.models if are(model)]

    def begin_nested_of(self, model: Model) -> None:
        model.begin(nested=self.connections[model.number].begin_nested())
        model.used = True

    def end_nested_of(self, model: Model, commits: bool) -> None:
        index = model.innermost_nested()
        nested = model.frames[index].nested
        if commits:
            nested.commit()
            model.release(index)
        elif self.undo(model.number, index, nested.rollback):
            del model.frames[index:]

    def end_savepoint_of(self, model: Model, name: str, releases: bool) -> None:
        index = model.named(name)
        verb = "RELEASE" if releases else "ROLLBACK TO"
        statement = text(f"{verb} {name}")
        if releases:
            self.execute(model.number, statement)
            model.release(index)
        else:
            self.undo(model.number, index, lambda: self.execute(model.number, statement))

    def execute(self, number: int, *arguments: Any) -> Any:
        self.models[number].begin()
        self.models[number].used = True
        return self.connections[number].execute(*arguments)

    def undo(self, number: int, index: int, action: Callable[[], object]) -> bool:
        """Undo a frame; where one transaction cannot represent that, begin the next test."""
        model = self.models[number]
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
        """Look from outside at the rows of each connection that has nothing uncommitted."""
        self.steps += 1
        rows = self.rows()
        for model in self.models:
            if model.rows == model.committed:
                assert _of(model.number, rows) == model.committed, f"connection {model.number}"

    def rows(self) -> Rows:
        with self.case.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT key, value FROM model_rows")
            return dict(found.cursor.fetchall())


def _case(data: Rows) -> type[DatabaseTestCase]:
    """Return a test class, with ``data`` as its class data if there is any."""

    class Case(DatabaseTestCase):
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


TestSandbox = SandboxMachine.TestCase
TestSandbox.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
)
