"""Tests of a history, for pytest: those of pytest-alembic, or ours.

``BENCHMARK_HISTORY`` is the path of an alembic.ini, ``BENCHMARK_REVISIONS`` their number,
``BENCHMARK_DATABASE`` the database, and ``BENCHMARK_TESTS`` says whose tests they are.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

HISTORY = os.environ["BENCHMARK_HISTORY"]
DATABASE = os.environ["BENCHMARK_DATABASE"]
TESTS = os.environ["BENCHMARK_TESTS"]

if TESTS == "pytest-alembic":
    from pytest_alembic.tests import (  # noqa: F401
        test_model_definitions_match_ddl,
        test_single_head_revision,
        test_up_down_consistency,
        test_upgrade,
    )

    from .databases import engine_on

    @pytest.fixture
    def alembic_config() -> dict[str, str]:
        return {"file": HISTORY}

    @pytest.fixture
    def alembic_engine() -> Any:
        engine = engine_on(DATABASE)
        yield engine
        if engine.dialect.name == "postgresql":
            with engine.begin() as connection:
                connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        engine.dispose()

else:
    from dbtestcase import MigrationTestCase

    from .migration_history import models

    class OurTests(MigrationTestCase):
        database = DATABASE
        migrations = HISTORY
        metadata = models(int(os.environ["BENCHMARK_REVISIONS"]))
        if TESTS == "ours, as many":
            test_history_has_no_orphaned_revision = None
            test_every_revision_upgrades_tables_with_rows = None
