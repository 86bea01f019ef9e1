"""What a test sets on its connection to MariaDB or MySQL, the next one does not find."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from . import inner
from .mysql import Cases, drivers, drop_what_is_kept, execute, only_alice, query
from .servers import needs_mysql
from .waiting import until

tearDownModule = drop_what_is_kept

LOCK = f"dbtestcase_test_{secrets.token_hex(4)}"

#: What can be set, and a query that tells whether it is.
SETTINGS = {
    "SET foreign_key_checks = 0, @@SESSION.sql_mode = 'ANSI'": "SELECT @@foreign_key_checks",
    "/* a comment */ SET SESSION sql_mode = 'ANSI'": "SELECT @@sql_mode",
    "/*!40101 SET SQL_MODE = '' */": "SELECT @@sql_mode",
    "SET @@local.div_precision_increment = 7": "SELECT @@div_precision_increment",
    "SET `max_error_count` = 7": "SELECT @@max_error_count",
    "SET timestamp = 1000": "SELECT YEAR(NOW()) = 1970",
    "SET lc_time_names = 'de_DE'": "SELECT DAYNAME('2000-01-01')",
    "SET NAMES latin1": "SELECT @@character_set_client, @@character_set_results",
    "SET CHARACTER SET latin1": "SELECT @@collation_connection, @@character_set_results",
    "SET collation_connection = latin1_bin": "SELECT @@character_set_connection",
    "SET @mine = 'x'": "SELECT @mine",
    "SET @`mine, and more` = 2": "SELECT @`mine, and more`",
    "SELECT @counted := 5": "SELECT @counted",
    "SELECT name INTO @found FROM users": "SELECT @found",
    "CALL sets(@out)": "SELECT @out, @@foreign_key_checks, @within",
    "SELECT sets_too()": "SELECT @also",
    "INSERT INTO watched VALUES (1)": "SELECT @seen",
    "CREATE TEMPORARY TABLE users (id INTEGER, name INTEGER)": "SELECT COUNT(name) FROM users",
    "CREATE TEMPORARY TABLE `odd ``name` (id INTEGER)": "SELECT COUNT(*) FROM `odd ``name`",
    f"SELECT GET_LOCK('{LOCK}', 1)": f"SELECT IS_FREE_LOCK('{LOCK}')",
    "PREPARE mine FROM 'SELECT 1'": "EXECUTE mine",
}
HOOK = (
    "CREATE TABLE watched (id INTEGER)",
    "CREATE PROCEDURE sets(OUT result INTEGER) BEGIN DECLARE x INTEGER; SET x = 1;"
    " IF x THEN SET SESSION foreign_key_checks = 0; END IF; SET @within = 3, result = x; END",
    "CREATE FUNCTION sets_too() RETURNS INTEGER DETERMINISTIC BEGIN SET @also = 1; RETURN 1; END",
    "CREATE TRIGGER tr BEFORE INSERT ON watched FOR EACH ROW SET @seen = 1",
)


def tell(connection: Connection, look: str) -> Any:
    """Return the row that ``look`` finds, None if it is an error."""
    try:
        return tuple(connection.exec_driver_sql(look).one())
    except DBAPIError:
        return None


def sets(statement: str, look: str) -> Callable[[Any], None]:
    """Return a test that fails if ``statement`` was executed before it."""
    usual: dict[type, Any] = {}

    def test(case: Any) -> None:
        with case.own_engine.connect() as connection:
            before = tell(connection, look)
            case.assertEqual(before, usual.setdefault(type(case), before), statement)
            connection.exec_driver_sql(statement)
            case.assertNotEqual(tell(connection, look), before, statement)
            connection.rollback()

    return test


def finds(case: Any, *expected: Any) -> None:
    """Check what the set-up of the class has set."""
    with case.own_engine.connect() as connection:
        looks = ("SELECT @@div_precision_increment", "SELECT @mine", "SELECT COUNT(*) FROM brief")
        case.assertEqual([tell(connection, look) for look in looks], list(expected))


@needs_mysql
class Settings(Cases):
    def test_they_are_taken_back_after_each_test(self) -> None:
        tests = [sets(*item) for item in SETTINGS.items()]
        for name in ("transaction", "truncation", "template"):
            hook = self.hook(*HOOK)
            self.each_driver(*tests, *tests, only_alice, isolation=name, setUpDatabase=hook)
            self.assertTrue(until(lambda: query(f"SELECT IS_FREE_LOCK('{LOCK}')") == [(1,)]))

    def test_those_of_the_class_are_there_in_each_of_its_tests_only(self) -> None:
        def setUpTestData(cls: Any, session: Any) -> None:
            super(cls, cls).setUpTestData(session)
            for statement in (
                "SET div_precision_increment = 7, @mine = 'x'",
                "CREATE TEMPORARY TABLE brief (id INTEGER)",
            ):
                session.execute(text(statement))

        def test(case: Any) -> None:
            finds(case, (7,), ("x",), (0,))
            execute(
                case,
                "SET div_precision_increment = 8, @mine = 'y'",
                "INSERT INTO brief VALUES (1)",
                "CREATE TEMPORARY TABLE other (id INTEGER)",
            )

        def fresh(case: Any) -> None:
            finds(case, (4,), (None,), None)

        for driver in drivers():
            data = {"setUpTestData": classmethod(setUpTestData)}
            first = self.case(test, test, driver=driver, **data)
            second = self.case(fresh, fresh, driver=driver)
            with self.subTest(driver):
                inner.passed(self, inner.run(first, second, first), 6)

    def test_roles(self) -> None:
        role = f"dbtestcase_{secrets.token_hex(4)}"
        query(f"CREATE ROLE {role}")
        self.addCleanup(query, f"DROP ROLE {role}")
        [(user,)] = query("SELECT CURRENT_USER()")
        query("GRANT {} TO `{}`@`{}`".format(role, *user.split("@")))
        test = sets(f"SET ROLE {role}", "SELECT CURRENT_ROLE()")
        self.each_driver(test, test)

    def test_locks_of_the_class_are_kept_for_its_tests(self) -> None:
        def setUpTestData(cls: Any, session: Any) -> None:
            super(cls, cls).setUpTestData(session)
            session.execute(text(f"SELECT GET_LOCK('{LOCK}', 1)"))

        def test(case: Any) -> None:
            self.assertEqual(query(f"SELECT IS_FREE_LOCK('{LOCK}')"), [(0,)])
            execute(case, f"SELECT GET_LOCK('{LOCK}_other', 1)")

        self.each_driver(test, test, setUpTestData=classmethod(setUpTestData))
        for name in (LOCK, f"{LOCK}_other"):
            free = f"SELECT IS_FREE_LOCK('{name}')"
            self.assertTrue(until(lambda free=free: query(free) == [(1,)]))

    def test_what_cannot_be_taken_back_is_refused(self) -> None:
        def test(case: Any) -> None:
            for statement in (
                "SET GLOBAL max_error_count = 70",
                "SET @@GLOBAL.max_error_count = 70",
                "SET @mine = 1, @@global.max_error_count = 70",
            ):
                with case.assertRaisesRegex(Exception, "would change the server") as raised:
                    execute(case, statement)
                case.assertIn(statement, str(raised.exception))
            with case.assertRaisesRegex(Exception, "to another database"):
                execute(case, "USE mysql")
            only_alice(case)

        self.each_driver(test, only_alice)
        self.assertNotEqual(query("SELECT @@GLOBAL.max_error_count"), [(70,)])
