"""The house as drawn: layers import strictly downward, and a few rooms own a few things."""

from __future__ import annotations

import ast
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "dbtestcase"

# From the ground up; a module imports only from lines below its own.
LAYERS = [
    ["at_exit", "exceptions", "_version", "code_digest", "wording", "dependencies"],
    [
        "statements",
        "event_loop",
        "violations",
        "link",
        "references",
        "documents",
        "instances",
        "lazy_loads",
    ],
    ["savepoints", "recording", "environment", "hooks", "session_options"],
    ["sandbox"],
    ["connections", "between_tests"],
    ["logging_state", "lending"],
    ["migrations"],
    ["schema", "class_data", "backends"],
    ["aliases", "inherited"],
    ["tables", "criteria"],
    ["rows", "listing"],
    ["engines", "options", "session_factories", "open_sessions", "factories"],
    ["table_images", "constraints", "observation"],
    ["class_database", "assertions"],
    ["provision", "template_plan"],
    ["databases", "sample_rows"],
    ["evidence", "database_errors", "lock_waits"],
    ["migrating"],
    ["lifecycle"],
    ["attributes", "failures", "reopen"],
    ["base_case", "doctor"],
    ["case", "async_case"],
    ["revision_tests"],
    ["migration_case"],
    ["__init__", "__main__"],
]
#: Rooms of several modules, which may import each other.
PACKAGES = {"assertions", "backends", "migrations"}
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    """Yield for each file of the package its room, its path, and what it says."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        yield room, path, ast.parse(path.read_text())


def imported_rooms(path: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the rooms of the package that a file imports from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].relative_to(PACKAGE)
            inside = (base / (node.module or "").replace(".", "/")).parts
            yield from inside[:1] or [alias.name for alias in node.names]


class Architecture(unittest.TestCase):
    def test_layers_import_downward(self) -> None:
        for room, path, tree in modules():
            for imported in imported_rooms(path, tree):
                with self.subTest(path.name, imported=imported):
                    self.assertTrue(
                        HEIGHT[imported] < HEIGHT[room] or imported == room in PACKAGES,
                        f"{path.name} imports {imported}",
                    )

    def test_every_module_has_its_place(self) -> None:
        self.assertEqual({room for room, _, _ in modules()}, set(HEIGHT))

    def test_names_of_databases_are_the_backends_affair(self) -> None:
        for room, path, tree in modules():
            if room != "backends":
                # An f-string or docstring may say "sqlite://"; code may not decide by the name.
                names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
                with self.subTest(path.name):
                    self.assertFalse(names & {"sqlite", "postgresql", "mysql", "mariadb"})

    def test_the_environment_is_read_in_one_place(self) -> None:
        users = [path.name for _, path, _ in modules() if "os.environ" in path.read_text()]
        self.assertEqual(users, ["environment.py"])

    def test_alembic_is_imported_in_one_place(self) -> None:
        for room, path, tree in modules():
            names = [
                name
                for node in ast.walk(tree)
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for name in (getattr(node, "module", None), *(one.name for one in node.names))
            ]
            if any(name is not None and name.split(".")[0] == "alembic" for name in names):
                with self.subTest(path.name):
                    self.assertEqual(room, "migrations")

    def test_files_are_short(self) -> None:
        for _, path, _ in modules():
            with self.subTest(path.name):
                self.assertLess(len(path.read_text().splitlines()), 275)

    def test_importing_the_package_imports_no_driver_and_no_orm(self) -> None:
        code = (
            "import sqlalchemy, sys; before = set(sys.modules); import dbtestcase;"
            "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
        )
        new = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
        for name in ("sqlite3", "aiosqlite", "alembic", "pytest", "tempfile"):
            self.assertNotIn(name, new)
        code = "import dbtestcase, sys; print('sqlalchemy.orm' in sys.modules)"
        ran = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        self.assertEqual(ran.stdout.strip(), "False")
