"""Opens a database of PGlite or pgserver that was kept: ``python -m dbtestcase.reopen FILE``."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from .backends.embedded import cache_directory
from .backends.pglite_server import PGliteServer
from .backends.postgres_binaries import find_binaries
from .backends.postgres_server import PostgresServer
from .exceptions import BackendError


def main() -> int:
    """Start a server with what is in the file, and psql for it; both end together."""
    options = _parser().parse_args()
    if not options.file.is_file():
        print(f"There is no file {options.file}", file=sys.stderr)
        return 1
    server = _server(options.file, tuple(filter(None, options.extensions.split(","))))
    try:
        server.wait()
        return _use(server, options.database)
    except BackendError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        server.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dbtestcase.reopen", description=__doc__)
    parser.add_argument("file", type=Path, help="as the report of the failed test names it")
    parser.add_argument("database", nargs="?", default="postgres", help="likewise, for pgserver")
    parser.add_argument("--extensions", default="", help="of PGlite, as in the database URL")
    return parser


def _server(archive: Path, extensions: tuple[str, ...]) -> PGliteServer | PostgresServer:
    if archive.name.endswith(".pglite.tar"):
        return PGliteServer(cache_directory("PGlite", "pglite"), extensions, archive)
    return PostgresServer(cache_directory("pgserver", "pgserver"), archive)


def _psql() -> str | None:
    """Return the path of psql: the machine's, or that of the wheel that pgserver comes from."""
    with suppress(BackendError):
        return shutil.which("psql") or shutil.which("psql", path=find_binaries())
    return None


def _use(server: PGliteServer | PostgresServer, database: str) -> int:
    host = server.socket_directory
    psql = _psql()
    if psql is not None:
        command = [psql, "-h", str(host), "-U", "postgres", database]
        return subprocess.run(command, check=False).returncode  # noqa: S603
    print(
        f"There is no psql here. The database is at postgresql://postgres@/{database}?host={host}"
    )
    print("until you press Enter.")
    sys.stdin.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
