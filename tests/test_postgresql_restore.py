"""What a test changed in a database of its own is undone in place, for superusers and others."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from dbtestcase import DatabaseTestCase

from . import inner
from .servers import POSTGRESQL, needs_postgresql, postgresql_role, postgresql_server


@needs_postgresql
class Restoring(unittest.TestCase):
    database = POSTGRESQL
    isolations = ("truncation", "template", "schema")
    for_superusers: Sequence[str] = ["CREATE TYPE only_a_shell"]
    left_in_public: Sequence[Any] = [("type only_a_shell",)]

    def check(
        self,
        schema: list[str],
        changes: list[str],
        *look: str,
        data: Sequence[str] = (),
        in_place: bool = True,
        isolations: tuple[str, ...] = isolations,
    ) -> Any:
        """Check that a test for each of ``changes`` finds what the first one found, and return it.

        :param look: queries that show it.
        :param in_place: in the same database, which was put in order; else in a new one for each.
        """

        def set_up_database(cls: Any, connection: Any) -> None:
            for statement in schema:
                connection.exec_driver_sql(statement)

        def set_up_data(cls: Any, session: Any) -> None:
            for statement in data:
                session.execute(text(statement))

        def test(case: Any) -> None:
            with case.engine.begin() as connection:
                found.append([connection.execute(text(query)).all() for query in look])
                databases.add(connection.scalar(text("SELECT current_database()")))
                connection.exec_driver_sql(changes[len(found) - 1])

        for isolation in isolations:
            found: list[Any] = []
            databases: set[str] = set()
            attributes = {
                "database": self.database,
                "isolation": isolation,
                "setUpDatabase": classmethod(set_up_database),
                "setUpTestData": classmethod(set_up_data),
                **{f"test_{number}": test for number in range(len(changes))},
            }
            with self.subTest(isolation):
                case = type("Case", (DatabaseTestCase,), attributes)
                inner.passed(self, inner.run(case), len(changes))
                self.assertEqual(found, [found[0]] * len(changes))
                self.assertEqual(len(databases), 1 if in_place else len(changes))
        return found[0]

    def test_foreign_keys_with_all_their_actions(self) -> None:
        actions = ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"]
        families = [action.replace(" ", "_").lower() for action in actions]
        members = [
            f"{kind}_{name}" for name in families for kind in ("parent", "child", "grandchild")
        ]
        self.check(
            [
                statement
                for action, name in zip(actions, families, strict=True)
                for statement in [
                    f"CREATE TABLE parent_{name} (id integer PRIMARY KEY, name text)",
                    f"CREATE TABLE child_{name} (id integer PRIMARY KEY, up integer DEFAULT 1"
                    f" REFERENCES parent_{name} ON DELETE {action} ON UPDATE {action})",
                    f"CREATE TABLE grandchild_{name} (id integer PRIMARY KEY, up integer"
                    f" REFERENCES child_{name} ON DELETE {action} ON UPDATE {action})",
                ]
            ],
            [
                "; ".join(f"UPDATE parent_{name} SET name = 'changed'" for name in families),
                "; ".join(f"INSERT INTO parent_{name} VALUES (3)" for name in families),
                "; ".join(f"DELETE FROM grandchild_{name}" for name in families),
                "DELETE FROM parent_cascade; DELETE FROM parent_set_null",
                "SELECT 1",
            ],
            *(f"SELECT * FROM {member} ORDER BY id" for member in members),
            data=(
                *(f"INSERT INTO parent_{name} VALUES (1), (2)" for name in families),
                *(f"INSERT INTO child_{name} VALUES (1, 1), (2, 2)" for name in families),
                *(f"INSERT INTO grandchild_{name} VALUES (1, 2)" for name in families),
            ),
        )

    def test_foreign_keys_in_a_circle(self) -> None:
        self.check(
            [
                "CREATE TABLE teams (id integer PRIMARY KEY, head integer)",
                "CREATE TABLE people (id integer PRIMARY KEY, team integer NOT NULL"
                " REFERENCES teams, boss integer REFERENCES people)",
                "ALTER TABLE teams ADD FOREIGN KEY (head) REFERENCES people"
                " DEFERRABLE INITIALLY DEFERRED",
            ],
            [
                "UPDATE teams SET head = 1",
                "INSERT INTO people VALUES (3, 1, 2); UPDATE people SET boss = 3 WHERE id = 2",
                "UPDATE teams SET head = NULL; DELETE FROM people",
                "SELECT 1",
            ],
            "SELECT * FROM teams",
            "SELECT * FROM people ORDER BY id",
            data=[
                "INSERT INTO teams VALUES (1, 2)",
                "INSERT INTO people VALUES (2, 1, NULL), (1, 1, 2)",
            ],
        )

    def test_foreign_keys_between_partitions(self) -> None:
        self.check(
            [
                "CREATE TABLE years (year integer PRIMARY KEY, n integer) PARTITION BY LIST (year)",
                "CREATE TABLE year_1 PARTITION OF years FOR VALUES IN (1)",
                "CREATE TABLE year_2 PARTITION OF years FOR VALUES IN (2)",
                "CREATE TABLE days (year integer REFERENCES years, day integer)"
                " PARTITION BY LIST (year)",
                "CREATE TABLE days_1 PARTITION OF days FOR VALUES IN (1)",
                "CREATE TABLE days_2 PARTITION OF days DEFAULT",
            ],
            ["UPDATE year_1 SET n = 7", "INSERT INTO days_2 VALUES (2, 2)", "SELECT 1"],
            "SELECT * FROM years ORDER BY year",
            "SELECT * FROM days ORDER BY year, day",
            data=["INSERT INTO years VALUES (1), (2)", "INSERT INTO days VALUES (1, 1), (2, 1)"],
        )

    def test_triggers_and_rules_do_nothing_meanwhile_and_work_again(self) -> None:
        self.check(
            [
                "CREATE TABLE things (n integer)",
                "CREATE TABLE log (what text)",
                "CREATE FUNCTION write_log() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN INSERT INTO log VALUES (TG_NAME); RETURN NEW; END'",
                *(
                    f"CREATE TRIGGER on_{name} BEFORE INSERT ON things FOR EACH ROW"
                    " EXECUTE FUNCTION write_log()"
                    for name in ("origin", "always", "replica", "never")
                ),
                "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON things DEFERRABLE"
                " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION write_log()",
                "ALTER TABLE things ENABLE ALWAYS TRIGGER on_always",
                "ALTER TABLE things ENABLE REPLICA TRIGGER on_replica",
                "ALTER TABLE things DISABLE TRIGGER on_never",
                "CREATE RULE no_delete AS ON DELETE TO things DO INSTEAD NOTHING",
                "CREATE RULE twice AS ON INSERT TO things DO ALSO INSERT INTO log VALUES ('rule')",
            ],
            ["INSERT INTO things VALUES (2)", "UPDATE things SET n = 3", "SELECT 1"],
            "SELECT * FROM things ORDER BY n",
            "SELECT * FROM log ORDER BY what",
            "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname, 2",
            data=["INSERT INTO things VALUES (1)"],
        )

    def test_row_level_security_that_binds_the_owner_too(self) -> None:
        self.check(
            [
                "CREATE TABLE things (n integer)",
                "ALTER TABLE things ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE things FORCE ROW LEVEL SECURITY",
                "CREATE POLICY mine ON things USING (n > current_setting('my.least')::integer)",
            ],
            ["UPDATE things SET n = n + 10", "DELETE FROM things WHERE n = 2", "SELECT 1"],
            "SELECT set_config('my.least', '0', true)",
            "SELECT n FROM things ORDER BY n",
            "SELECT bool_and(relforcerowsecurity) FROM pg_class WHERE relname = 'things'",
            data=["SET LOCAL my.least = 0", "INSERT INTO things VALUES (1), (2)"],
        )

    def test_hostile_names(self) -> None:
        self.check(
            [
                'CREATE TABLE "ONLY x" (id serial, "a ""b"", c" text)',
                "CREATE TABLE x (n integer)",
                'CREATE SCHEMA "it\'s; DROP"',
                'CREATE TABLE "it\'s; DROP"."100%% %%s" (id serial, "%%I" text)',
                'CREATE FUNCTION "f ""()"() RETURNS trigger LANGUAGE plpgsql AS'
                " 'BEGIN RETURN NEW; END'",
                'CREATE TRIGGER "t ""; x" BEFORE INSERT ON "ONLY x" FOR EACH ROW'
                ' EXECUTE FUNCTION "f ""()"()',
            ],
            [
                'INSERT INTO "ONLY x" ("a ""b"", c") VALUES (\'new\')',
                'INSERT INTO "it\'s; DROP"."100%% %%s" ("%%I") VALUES (\'new\')',
                "SELECT 1",
            ],
            'SELECT * FROM "ONLY x"',
            "SELECT * FROM x",
            'SELECT * FROM "it\'s; DROP"."100% %s"',
            data=[
                'INSERT INTO "ONLY x" ("a ""b"", c") VALUES (\'old\')',
                'INSERT INTO "it\'s; DROP"."100% %s" ("%I") VALUES (\'old\')',
                "INSERT INTO x VALUES (1)",
            ],
        )

    def test_rows_that_the_schema_comes_with(self) -> None:
        self.check(
            ["CREATE TABLE things (n integer PRIMARY KEY)", "INSERT INTO things VALUES (1)"],
            ["DELETE FROM things", "SELECT 1"],
            "SELECT * FROM things ORDER BY n",
            data=["INSERT INTO things VALUES (2)"],
        )

    def test_rows_older_than_the_constraint_that_they_violate(self) -> None:
        self.check(
            [
                "CREATE TABLE things (n integer)",
                "INSERT INTO things VALUES (1)",
                "ALTER TABLE things ADD CONSTRAINT big CHECK (n > 1) NOT VALID",
            ],
            ["INSERT INTO things VALUES (2)", "SELECT 1"],
            "SELECT * FROM things ORDER BY n",
            in_place=False,
        )

    def test_a_schema_that_the_test_has_changed(self) -> None:
        self.check(
            [
                "CREATE TABLE things (n integer)",
                "CREATE TABLE empty ()",
                "CREATE TYPE mood AS ENUM ('good')",
                "CREATE SEQUENCE numbers",
                "CREATE TABLE counted (n integer)",
                "CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM counted",
                "CREATE UNIQUE INDEX ON kept (n)",
                "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            ],
            [
                "CREATE TABLE more (n integer)",
                "DROP TABLE empty",
                "ALTER TABLE things RENAME TO objects",
                "ALTER TABLE things ALTER n SET NOT NULL",
                "ALTER TABLE things ALTER n TYPE bigint",
                "ALTER TABLE things ALTER n SET DEFAULT 5",
                "ALTER TABLE things ADD CHECK (n > 0)",
                "ALTER TABLE things SET (fillfactor = 50)",
                "ALTER TABLE things ENABLE ROW LEVEL SECURITY",
                "CREATE INDEX ON things (n)",
                "CREATE VIEW seen AS SELECT n FROM things",
                "CREATE SCHEMA elsewhere",
                "CREATE OR REPLACE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 2'",
                "GRANT SELECT ON things TO public",
                "COMMENT ON TABLE things IS 'odd'",
                "ALTER TYPE mood ADD VALUE 'bad'",
                "ALTER SEQUENCE numbers INCREMENT 5",
                "INSERT INTO counted VALUES (1); REFRESH MATERIALIZED VIEW kept",
                "INSERT INTO counted VALUES (1); REFRESH MATERIALIZED VIEW CONCURRENTLY kept",
            ],
            "SELECT attname, atttypid::regtype::text, attnotnull, atthasdef FROM pg_attribute"
            " WHERE attrelid = to_regclass('things') AND attnum > 0",
            "SELECT relname, reloptions, relacl::text, relrowsecurity FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace ORDER BY relname",
            "SELECT count(*) FROM pg_constraint",
            "SELECT count(*) FROM pg_description",
            "SELECT count(*) FROM pg_enum",
            r"SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' ORDER BY nspname",
            "SELECT seqincrement FROM pg_sequence",
            "SELECT one(), kept.n FROM kept",
            in_place=False,
            isolations=("truncation",),
        )

    def test_large_objects(self) -> None:
        found = self.check(
            ["SELECT lo_from_bytea(0, 'of all')"],
            ["SELECT lo_from_bytea(0, 'of a test')", "SELECT 1"],
            "SELECT count(*) FROM pg_largeobject_metadata",
            in_place=False,
            isolations=("truncation",),
        )
        self.assertEqual(found, [[(1,)]])

    def test_all_of_public_is_in_the_schema_of_a_test(self) -> None:
        found = self.check(
            [
                "CREATE EXTENSION IF NOT EXISTS citext",
                "CREATE TYPE mood AS ENUM ('good', 'bad')",
                "CREATE TYPE pair AS (n integer, mood mood)",
                "CREATE DOMAIN small AS integer CHECK (VALUE < 100)",
                'CREATE COLLATION letters FROM "C"',
                "CREATE SEQUENCE alone",
                "CREATE TABLE things (id serial PRIMARY KEY, mood mood, pair pair, n small,"
                " name citext COLLATE letters,"
                " counted integer GENERATED ALWAYS AS IDENTITY)",
                "CREATE INDEX ON things (name)",
                "CREATE STATISTICS related ON n, id FROM things",
                "CREATE VIEW seen AS SELECT id, mood, name FROM things",
                "CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM things",
                "CREATE FUNCTION count_things(m mood) RETURNS bigint LANGUAGE plpgsql AS"
                " 'BEGIN RETURN (SELECT count(*) FROM things WHERE mood = m); END'",
                "CREATE PROCEDURE add_thing(p pair) LANGUAGE sql AS"
                " 'INSERT INTO things (pair) VALUES (p)'",
                "CREATE FUNCTION first(a mood, b mood) RETURNS mood LANGUAGE sql AS 'SELECT a'",
                "CREATE AGGREGATE firsts(mood) (SFUNC = first, STYPE = mood, INITCOND = 'bad')",
                "CREATE FUNCTION one_more(n bigint) RETURNS bigint LANGUAGE sql AS 'SELECT n + 1'",
                "CREATE AGGREGATE rows(*) (SFUNC = one_more, STYPE = bigint, INITCOND = '0')",
                *self.for_superusers,
                "CREATE OPERATOR + (FUNCTION = first, LEFTARG = mood, RIGHTARG = mood)",
                "CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple)",
                "CREATE SCHEMA audit",
                "CREATE TABLE audit.log (n integer)",
                "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
            ],
            [
                "CALL add_thing((1, 'bad')); SELECT nextval('alone')",
                "INSERT INTO audit.log VALUES (1)",
                "SELECT 1",
            ],
            "SELECT current_schema(), extnamespace::regnamespace::text FROM pg_extension"
            " WHERE extname = 'citext'",
            "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend d"
            " WHERE refobjid = 'public'::regnamespace AND deptype = 'n' AND NOT EXISTS"
            " (SELECT FROM pg_depend WHERE objid = d.objid AND deptype = 'e')",
            "SELECT seen.id, seen.mood, seen.name, n, pair, counted"
            " FROM seen JOIN things USING (id) WHERE things.name = 'ANN'",
            "SELECT count_things('good'), firsts(mood + mood), rows(*) FROM seen",
            "SELECT last_value, is_called, to_tsvector('plain', 'a')::text FROM alone",
            "SELECT * FROM audit.log",
            data=["INSERT INTO things (mood, pair, n, name) VALUES ('good', (2, 'bad'), 9, 'Ann')"],
            isolations=("schema",),
        )
        self.assertEqual(
            found,
            [
                [("dbtestcase_schema", "public")],
                [("extension citext",), *self.left_in_public],
                [(1, "good", "Ann", 9, "(2,bad)", 1)],
                [(1, "bad", 1)],
                [(1, False, "'a':1")],
                [],
            ],
        )

    def test_truncated_and_used_in_temporary_tables(self) -> None:
        self.check(
            [
                "CREATE TABLE things (id serial PRIMARY KEY, n integer)",
                "CREATE TABLE parts (thing integer REFERENCES things)",
            ],
            [
                "CREATE TEMPORARY TABLE mine (id serial PRIMARY KEY CHECK (id > 0), n text);"
                " TRUNCATE things RESTART IDENTITY CASCADE; INSERT INTO things (n) VALUES (7)",
                "SELECT 1",
            ],
            "SELECT * FROM things",
            "SELECT * FROM parts",
            data=["INSERT INTO things (n) VALUES (1)", "INSERT INTO parts VALUES (1)"],
        )


@needs_postgresql
class RestoringWithoutSuperuser(Restoring):
    for_superusers = left_in_public = ()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        url = cls.enterClassContext(postgresql_role())
        cls.database = url.render_as_string(hide_password=False)

    def test_the_behavioural_suite(self) -> None:
        process = subprocess.run(
            [sys.executable, "-W", "error", "-m", "unittest", "tests.suite.test_behaviour"],
            env={**os.environ, "DBTESTCASE_DATABASE": self.database},
            capture_output=True,
            check=False,
            text=True,
        )
        self.assertEqual(process.returncode, 0, process.stderr)

    def test_tables_of_another_owner(self) -> None:
        owner = self.enterContext(postgresql_role("")).username
        url = self.enterContext(postgresql_role())
        user = url.username

        def set_up_database(cls: Any, connection: Any) -> None:
            schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
            with postgresql_server() as superuser:
                superuser.exec_driver_sql(f"GRANT {owner} TO {user}")
                for statement in [
                    f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {owner}",
                    f"SET ROLE {owner}",
                    "CREATE TABLE others (n integer)",
                    f"GRANT ALL ON others TO {user}",
                    "RESET ROLE",
                ]:
                    connection.exec_driver_sql(statement)
                superuser.exec_driver_sql(f"REVOKE {owner} FROM {user}")

        def test(case: Any) -> None:
            with case.engine.begin() as connection:
                self.assertEqual(connection.scalar(text("SELECT count(*) FROM others")), 0)
                connection.execute(text("INSERT INTO others VALUES (1)"))

        attributes = {
            "database": url.render_as_string(hide_password=False),
            "setUpDatabase": classmethod(set_up_database),
            "test_1": test,
            "test_2": test,
        }
        for isolation in self.isolations:
            with self.subTest(isolation):
                case = type("Case", (DatabaseTestCase,), {**attributes, "isolation": isolation})
                inner.passed(self, inner.run(case), 2)
