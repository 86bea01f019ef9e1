"""What tables, and all that can be in a schema of MariaDB or MySQL, are after each test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from dbtestcase import isolation

from . import inner
from .mysql import (
    ADD,
    Cases,
    drivers,
    drop_what_is_kept,
    execute,
    is_mariadb,
    nothing,
    only_alice,
    query,
)
from .servers import needs_mysql

tearDownModule = drop_what_is_kept


def rows(case: Any, sql: str) -> list[Any]:
    """Return what a connection of its own sees."""
    with case.own_engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def finds(sql: str, expected: list[Any], *statements: str) -> Callable[[Any], None]:
    """Return a test that finds ``expected``, and then executes statements."""

    def test(case: Any) -> None:
        only_alice(case)
        case.assertEqual(rows(case, sql), expected)
        execute(case, *statements, ADD)

    return test


def class_data(*statements: str) -> Any:
    """Return a ``setUpTestData`` that executes statements."""

    def setUpTestData(cls: Any, session: Any) -> None:
        super(cls, cls).setUpTestData(session)
        session.flush()
        for statement in statements:
            session.execute(text(statement))

    return classmethod(setUpTestData)


@needs_mysql
class Restored(Cases):
    """Each test finds what class data left, under every isolation that the table allows."""

    def everywhere(
        self,
        definitions: list[str],
        data: list[str],
        look: str,
        expected: list[Any],
        *statements: str,
        isolations: tuple[str, ...] = ("transaction", "truncation", "template"),
    ) -> None:
        test = finds(look, expected, *statements)
        for name in isolations:
            with self.subTest(name):
                case = self.case(
                    test,
                    test,
                    isolation=name,
                    setUpDatabase=self.hook(*definitions),
                    setUpTestData=class_data(*data),
                )
                inner.passed(self, inner.run(case), 2)

    def needs_mariadb(self) -> None:
        if not is_mariadb():
            self.skipTest("MySQL has no such tables")

    def test_system_versioned_tables(self) -> None:
        self.needs_mariadb()
        versioned = "CREATE TABLE prices (id INTEGER PRIMARY KEY AUTO_INCREMENT, amount INTEGER"
        period = (
            ", since TIMESTAMP(6) GENERATED ALWAYS AS ROW START,"
            " till TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (since, till)"
        )
        history = bool(query("SHOW VARIABLES LIKE 'system_versioning_insert_history'"))
        then = [(1, 10), (1, 11)] if history else [(1, 11)]
        for columns in ("", period):
            with self.subTest(columns):
                self.everywhere(
                    [f"{versioned}{columns}) WITH SYSTEM VERSIONING"],
                    ["INSERT INTO prices (amount) VALUES (10)", "UPDATE prices SET amount = 11"],
                    "SELECT id, amount FROM prices FOR SYSTEM_TIME ALL ORDER BY amount",
                    then,
                    "UPDATE prices SET amount = 12",
                    "INSERT INTO prices (amount) VALUES (13)",
                    "DELETE FROM prices",
                    isolations=("truncation", "template"),
                )

    def test_system_versioned_tables_in_a_transaction(self) -> None:
        self.needs_mariadb()
        self.everywhere(
            ["CREATE TABLE prices (id INTEGER PRIMARY KEY, amount INTEGER) WITH SYSTEM VERSIONING"],
            ["INSERT INTO prices VALUES (1, 10)"],
            "SELECT * FROM prices FOR SYSTEM_TIME ALL",
            [(1, 10)],
            "UPDATE prices SET amount = 12",
            isolations=("transaction",),
        )

    def test_history_by_transaction(self) -> None:
        """Only what is current can be put back."""
        self.needs_mariadb()
        self.everywhere(
            [
                "CREATE TABLE prices (id INTEGER PRIMARY KEY, amount INTEGER,"
                " a BIGINT UNSIGNED GENERATED ALWAYS AS ROW START,"
                " b BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b))"
                " WITH SYSTEM VERSIONING"
            ],
            ["INSERT INTO prices (id, amount) VALUES (1, 10)"],
            "SELECT id, amount FROM prices FOR SYSTEM_TIME ALL",
            [(1, 10)],
            "UPDATE prices SET amount = 12",
            isolations=("truncation", "template"),
        )

    def test_history_in_partitions(self) -> None:
        self.needs_mariadb()
        self.everywhere(
            [
                "CREATE TABLE prices (id INTEGER) WITH SYSTEM VERSIONING"
                " PARTITION BY SYSTEM_TIME LIMIT 100 (PARTITION p HISTORY, PARTITION q CURRENT)"
            ],
            ["INSERT INTO prices VALUES (1)"],
            "SELECT id FROM prices FOR SYSTEM_TIME ALL",
            [(1,)],
            "UPDATE prices SET id = 2",
        )

    def test_triggers_on_a_system_versioned_table(self) -> None:
        self.needs_mariadb()
        self.everywhere(
            [
                "CREATE TABLE prices (id INTEGER PRIMARY KEY) WITH SYSTEM VERSIONING",
                "CREATE TABLE log (id INTEGER)",
                "CREATE TRIGGER gone AFTER DELETE ON prices FOR EACH ROW"
                " INSERT INTO log VALUES (OLD.id)",
            ],
            [],
            "SELECT * FROM log",
            [],
            "INSERT INTO prices VALUES (1)",
        )

    def test_application_time_periods(self) -> None:
        self.needs_mariadb()
        self.everywhere(
            [
                "CREATE TABLE stays (room INTEGER, since DATE, till DATE, PERIOD FOR stay (since,"
                " till), UNIQUE (room, stay WITHOUT OVERLAPS))"
            ],
            ["INSERT INTO stays VALUES (1, '2020-01-01', '2020-12-31')"],
            "SELECT room, YEAR(till) FROM stays",
            [(1, 2020)],
            "DELETE FROM stays FOR PORTION OF stay FROM '2020-03-01' TO '2020-04-01'",
        )

    def test_sequences(self) -> None:
        self.needs_mariadb()
        for options in ("", "CACHE 1", "NOCACHE INCREMENT BY -1 MAXVALUE 5"):
            with self.subTest(options):
                self.everywhere(
                    [
                        f"CREATE SEQUENCE counter START WITH 5 {options}",
                        "CREATE TABLE numbers (id INTEGER DEFAULT NEXTVAL(counter))",
                    ],
                    [],
                    "SELECT NEXTVAL(counter)",
                    [(5,)],
                    "INSERT INTO numbers VALUES ()",
                    "SELECT SETVAL(counter, 4)",
                    isolations=("truncation", "template"),
                )

    def test_reset_sequences(self) -> None:
        self.needs_mariadb()
        hook = self.hook("CREATE SEQUENCE counter START WITH 5")
        test = finds("SELECT NEXTVAL(counter)", [(5,)])
        self.each_driver(test, test, setUpDatabase=hook, reset_sequences=True)

    def test_columns_that_nobody_writes_or_sees(self) -> None:
        self.everywhere(
            [
                "CREATE TABLE areas (id INTEGER PRIMARY KEY, side INTEGER,"
                " hidden INTEGER DEFAULT 3 INVISIBLE, area INTEGER AS (side * side) STORED,"
                " next_side INTEGER AS (side + 1) VIRTUAL, UNIQUE (area))"
            ],
            ["INSERT INTO areas (id, side, hidden) VALUES (1, 2, 7)"],
            "SELECT id, side, hidden, area, next_side FROM areas",
            [(1, 2, 7, 4, 3)],
            "UPDATE areas SET side = 5, hidden = 6",
            "INSERT INTO areas (id, side) VALUES (2, 9)",
        )

    def test_an_index_of_an_expression(self) -> None:
        if is_mariadb():
            self.skipTest("MariaDB has no such indexes")
        self.everywhere(
            ["CREATE TABLE words (word VARCHAR(20), UNIQUE ((LOWER(word))))"],
            ["INSERT INTO words VALUES ('One')"],
            "SELECT word FROM words",
            [("One",)],
            "DELETE FROM words",
            "INSERT INTO words VALUES ('ONE')",
        )

    def test_types_and_checks(self) -> None:
        self.everywhere(
            [
                "CREATE TABLE kinds (id INTEGER PRIMARY KEY, document JSON, bits BIT(3),"
                " raw BLOB, choice ENUM('a', 'b'), many SET('x', 'y'), place POINT,"
                " price DECIMAL(20, 10), CHECK (price > 0))"
            ],
            [
                "INSERT INTO kinds VALUES (1, '{\"a\": [1, null]}', 5, X'00FF27', 'b', 'x,y',"
                " ST_GeomFromText('POINT(1 2)'), 0.1234567891)"
            ],
            "SELECT JSON_EXTRACT(document, '$.a[0]'), bits + 0, HEX(raw), choice, many,"
            " ST_X(place), CAST(price AS CHAR) FROM kinds",
            [("1", 5, "00FF27", "b", "x,y", 1.0, "0.1234567891")],
            "UPDATE kinds SET document = '[]', bits = 1, raw = '', choice = NULL, price = 3",
        )

    def test_partitions(self) -> None:
        self.everywhere(
            ["CREATE TABLE parts (id INTEGER PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3"],
            ["INSERT INTO parts VALUES (1), (2), (3)"],
            "SELECT id FROM parts ORDER BY id",
            [(1,), (2,), (3,)],
            "DELETE FROM parts WHERE id = 2",
            "UPDATE parts SET id = 5 WHERE id = 3",
        )

    def test_foreign_keys_in_a_circle(self) -> None:
        self.everywhere(
            [
                "CREATE TABLE teams (id INTEGER PRIMARY KEY, head INTEGER)",
                "CREATE TABLE heads (id INTEGER PRIMARY KEY, team INTEGER NOT NULL,"
                " chief INTEGER, FOREIGN KEY (team) REFERENCES teams (id) ON DELETE CASCADE,"
                " FOREIGN KEY (chief) REFERENCES heads (id))",
                "ALTER TABLE teams ADD FOREIGN KEY (head) REFERENCES heads (id)",
            ],
            [
                "INSERT INTO teams VALUES (1, NULL)",
                "INSERT INTO heads VALUES (1, 1, 1)",
                "UPDATE teams SET head = 1",
            ],
            "SELECT teams.id, head, chief FROM teams JOIN heads ON heads.id = head",
            [(1, 1, 1)],
            "UPDATE teams SET head = NULL",
            "UPDATE heads SET chief = NULL",
            "DELETE FROM teams",
        )

    def test_views(self) -> None:
        self.everywhere(
            [
                "CREATE TABLE plain (id INTEGER PRIMARY KEY)",
                "CREATE VIEW seen AS SELECT id FROM plain",
                "CREATE VIEW seen_again AS SELECT id FROM seen",
            ],
            ["INSERT INTO seen_again VALUES (1)"],
            "SELECT * FROM plain",
            [(1,)],
            "UPDATE seen_again SET id = 2",
        )

    def test_triggers_stay_and_do_not_fire(self) -> None:
        self.everywhere(
            [
                "CREATE TABLE items (id INTEGER PRIMARY KEY, at_first INTEGER, last INTEGER)",
                "CREATE TABLE log (id INTEGER)",
                "CREATE TRIGGER a BEFORE INSERT ON items FOR EACH ROW SET NEW.at_first = 1",
                "CREATE TRIGGER z BEFORE INSERT ON items FOR EACH ROW PRECEDES a"
                " SET NEW.at_first = 2, NEW.last = NEW.at_first",
                "CREATE TRIGGER noted AFTER INSERT ON items FOR EACH ROW"
                " INSERT INTO log VALUES (NEW.id)",
            ],
            ["INSERT INTO items (id) VALUES (1)", "UPDATE items SET last = 9"],
            "SELECT items.*, COUNT(*) FROM items, log GROUP BY items.id",
            [(1, 1, 9, 1)],
            "DELETE FROM log",
            "INSERT INTO items (id) VALUES (2)",
        )


@needs_mysql
class WithoutTransactions(Cases):
    """Tables whose rows no rollback takes back."""

    def engines(self) -> list[str]:
        return ["MyISAM", "MEMORY", "Aria"] if is_mariadb() else ["MyISAM", "MEMORY"]

    def test_writing_is_refused(self) -> None:
        def test(case: Any) -> None:
            only_alice(case)
            for statement in [
                "INSERT INTO memos VALUES (1)",
                "INSERT INTO seen VALUES (1)",
                "CALL adds()",
                "SELECT add_memo()",
                "INSERT INTO watched VALUES (1)",
            ]:
                with case.subTest(statement), case.assertRaises(Exception) as raised:
                    execute(case, ADD, statement)
                message = str(raised.exception)
                case.assertIn("takes no part in transactions", message)
                case.assertIn(statement, message)
                case.assertIn(case.id(), message)
                case.assertIn('isolation("truncation")', message)

        for engine in self.engines():
            hook = self.hook(
                f"CREATE TABLE memos (id INTEGER) ENGINE = {engine}",
                "CREATE VIEW seen AS SELECT id FROM memos",
                "CREATE PROCEDURE adds() INSERT INTO seen VALUES (1)",
                "CREATE FUNCTION add_memo() RETURNS INTEGER DETERMINISTIC MODIFIES SQL DATA"
                " BEGIN CALL adds(); RETURN 1; END",
                "CREATE TABLE watched (id INTEGER)",
                "CREATE TRIGGER tr AFTER INSERT ON watched FOR EACH ROW CALL adds()",
            )
            with self.subTest(engine):
                self.each_driver(test, test, setUpDatabase=hook)

    def test_reading(self) -> None:
        """Aria lets no savepoint be set in a transaction that has read one of its tables."""

        def test(case: Any) -> None:
            execute(case, ADD)
            case.assertEqual(rows(case, "SELECT * FROM memos"), [(1,)])
            execute(case, ADD.replace("bob", "carl"))

        def refused(case: Any) -> None:
            with case.assertRaisesRegex(Exception, "takes no part in transactions"):
                rows(case, "SELECT * FROM memos")

        for engine in self.engines():
            hook = self.hook(
                f"CREATE TABLE memos (id INTEGER) ENGINE = {engine}",
                "INSERT INTO memos VALUES (1)",
            )
            with self.subTest(engine):
                one = refused if engine == "Aria" else test
                self.each_driver(one, one, setUpDatabase=hook)

    def test_rows_are_put_back_after_real_commits(self) -> None:
        """They are in a table that comes, by its name, after one that is transactional."""
        test = finds("SELECT * FROM visits", [(1,)], "DELETE FROM visits")
        for engine in self.engines():
            hook = self.hook(f"CREATE TABLE visits (id INTEGER) ENGINE = {engine}")
            data = class_data("COMMIT", "INSERT INTO visits VALUES (1)", "COMMIT")
            for name in ("truncation", "template"):
                with self.subTest(engine, isolation=name):
                    case = self.case(
                        test, test, isolation=name, setUpDatabase=hook, setUpTestData=data
                    )
                    inner.passed(self, inner.run(case), 2)


@needs_mysql
class FullText(Cases):
    """FULLTEXT indexes, which know only what is committed."""

    HOOK = (
        "CREATE TABLE texts (id INTEGER PRIMARY KEY, body TEXT, FULLTEXT (body))",
        "INSERT INTO texts VALUES (1, 'something borrowed')",
    )
    SEARCH = "SELECT id FROM texts WHERE MATCH (body) AGAINST ('{}')"

    def test_a_search_that_would_pass_over_rows_is_refused(self) -> None:
        def test(case: Any) -> None:
            case.assertEqual(rows(case, self.SEARCH.format("borrowed")), [(1,)])
            execute(case, "INSERT INTO texts VALUES (2, 'something blue')")
            with case.assertRaisesRegex(Exception, "know only what is committed"):
                rows(case, self.SEARCH.format("blue"))
            case.assertEqual(rows(case, "SELECT id FROM texts ORDER BY id"), [(1,), (2,)])

        self.each_driver(test, test, setUpDatabase=self.hook(*self.HOOK))

    def test_class_data_is_such_rows(self) -> None:
        def test(case: Any) -> None:
            with case.assertRaisesRegex(Exception, "know only what is committed"):
                rows(case, self.SEARCH.format("borrowed"))

        data = class_data("INSERT INTO texts VALUES (3, 'something old')")
        hook = self.hook(*self.HOOK)
        self.each_driver(test, test, setUpDatabase=hook, setUpTestData=data)

    def test_after_real_commits(self) -> None:
        @isolation("truncation")
        def test(case: Any) -> None:
            case.assertEqual(rows(case, self.SEARCH.format("old")), [(3,)])
            case.assertEqual(rows(case, self.SEARCH.format("blue")), [])
            execute(case, "INSERT INTO texts VALUES (2, 'something blue')")
            case.assertEqual(rows(case, self.SEARCH.format("blue")), [(2,)])

        data = class_data("INSERT INTO texts VALUES (3, 'something old')")
        hook = self.hook(*self.HOOK)
        self.each_driver(test, test, setUpDatabase=hook, setUpTestData=data)


@needs_mysql
class MadeByTheClass(Cases):
    """Schema that the set-up of a class changes, for that class only."""

    def check(self, test: Callable[[Any], None], *statements: str) -> None:
        def fresh(case: Any) -> None:
            case.assertEqual(case.tables(), ["extra", "posts", "tags", "users"])
            case.assertEqual(rows(case, "SELECT COUNT(*) FROM tags WHERE color = 'new'"), [(0,)])

        for name in ("truncation", "template"):
            hook = self.hook("CREATE TABLE extra (id INTEGER)")
            attributes: Any = {"isolation": name, "setUpDatabase": hook}
            first = self.case(test, test, **attributes, setUpTestData=class_data(*statements))
            second = self.case(fresh, **attributes)
            with self.subTest(name):
                inner.passed(self, inner.run(first, second), 3)

    def test_tables_made_in_the_set_up_of_the_class(self) -> None:
        def setUpTestData(cls: Any, session: Any) -> None:
            session.execute(text("CREATE TABLE more (id INTEGER REFERENCES users (id))"))
            session.execute(text("ALTER TABLE tags ADD COLUMN size INTEGER DEFAULT 3"))
            session.execute(text("INSERT INTO tags (word) VALUES ('x')"))
            session.execute(text("INSERT INTO more VALUES (NULL)"))

        def test(case: Any) -> None:
            with case.own_engine.begin() as connection:
                case.assertEqual(connection.exec_driver_sql("SELECT size FROM tags").all(), [(3,)])
                case.assertEqual(len(connection.exec_driver_sql("SELECT * FROM more").all()), 1)
                connection.exec_driver_sql("INSERT INTO more VALUES (NULL)")

        data = classmethod(setUpTestData)
        self.each_driver(test, test, isolation="truncation", setUpTestData=data)

    def test_views(self) -> None:
        def test(case: Any) -> None:
            case.assertEqual(rows(case, "SELECT name FROM b_view"), [("alice",)])
            execute(case, "INSERT INTO c_view (name) VALUES ('bob')")
            case.assertEqual(case.names(), ["alice", "bob"])

        self.check(
            test,
            "CREATE VIEW c_view AS SELECT * FROM users",
            "CREATE VIEW a_view AS SELECT * FROM c_view",
            "CREATE VIEW b_view AS SELECT * FROM a_view",
        )

    def test_triggers_and_routines(self) -> None:
        def test(case: Any) -> None:
            only_alice(case)
            execute(case, "INSERT INTO tags (word, color) VALUES ('x', 'y')")
            case.assertEqual(case.names(), ["alice", "bob"])
            execute(case, "CALL adds()")
            case.assertEqual(rows(case, "SELECT title FROM posts WHERE id = twice(1)"), [("two",)])
            case.assertEqual(len(case.names()), 3)

        self.check(
            test,
            "CREATE PROCEDURE adds() INSERT INTO users (name) VALUES ('carl')",
            "CREATE FUNCTION twice(n INTEGER) RETURNS INTEGER DETERMINISTIC RETURN n * 2",
            "CREATE TRIGGER tr AFTER INSERT ON tags FOR EACH ROW"
            " INSERT INTO users (name) VALUES ('bob')",
        )

    def test_a_trigger_on_a_table_that_was_altered(self) -> None:
        def test(case: Any) -> None:
            execute(case, "INSERT INTO tags (word, color) VALUES ('x', 'y')")
            found = rows(case, "SELECT size FROM tags WHERE word = 'x'")
            case.assertEqual(found, [(4,)])

        self.check(
            test,
            "ALTER TABLE tags ADD COLUMN size INTEGER DEFAULT 3",
            "CREATE TRIGGER tr BEFORE INSERT ON tags FOR EACH ROW SET NEW.size = 4",
        )

    def test_events(self) -> None:
        def test(case: Any) -> None:
            found = rows(case, "SHOW EVENTS")
            case.assertEqual([row[1] for row in found], ["yearly"])

        self.check(test, "CREATE EVENT yearly ON SCHEDULE EVERY 1 YEAR DISABLE DO SELECT 1")

    def test_sequences(self) -> None:
        if not is_mariadb():
            self.skipTest("MySQL has no sequences")

        def test(case: Any) -> None:
            case.assertEqual(rows(case, "SELECT NEXTVAL(counter)"), [(7,)])
            execute(case, "INSERT INTO numbers VALUES ()")
            case.assertEqual(rows(case, "SELECT id FROM numbers"), [(8,)])

        self.check(
            test,
            "CREATE SEQUENCE counter START WITH 7",
            "CREATE TABLE numbers (id INTEGER DEFAULT NEXTVAL(counter))",
        )

    def test_what_is_dropped(self) -> None:
        def test(case: Any) -> None:
            case.assertEqual(case.tables(), ["posts", "tags", "users"])

        self.check(test, "DROP TABLE extra")

    def test_under_transaction_isolation_it_is_refused(self) -> None:
        data = class_data("CREATE VIEW seen AS SELECT * FROM users")
        for driver in drivers():
            case = self.case(nothing, driver=driver, setUpTestData=data)
            result = inner.run(case)
            message = inner.only_error(self, result)
            self.assertIn("would commit the transaction", message)
            self.assertIn("do it in setUpDatabase", message)
