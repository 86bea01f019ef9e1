"""What is committed in a PostgreSQL database, copied with PostgreSQL's own commands.

They need nothing of how the database was made, and let others go on in it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..exceptions import BackendError
from .postgres_binaries import output, places_of_binaries

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def copy_contents(url: URL, source: str, copy: str, version: int) -> None:
    """Let the empty database ``copy`` contain what is committed in ``source``.

    :param url: of the server that has both.
    :param version: the server's, without the minor one. An older ``pg_dump`` refuses to, and what
        a newer one writes may be more than the server understands.
    :raises BackendError: there are no such commands here, or they fail.
    """
    directory = _find_commands(version)
    dumps: list[str | Path] = [directory / "pg_dump", "--format=custom", "--lock-wait-timeout=1s"]
    restores: list[str | Path] = [directory / "pg_restore", "--exit-on-error"]
    with _told_the_password(url) as told, tempfile.TemporaryFile() as dump:
        _run(dumps, told.set(database=source), stdout=dump)
        dump.seek(0)
        _run(restores, told.set(database=copy), stdin=dump)


def _find_commands(version: int) -> Path:
    for directory in places_of_binaries():
        command = directory / "pg_dump"
        if command.is_file() and re.search(rf" {version}\b", output(command, "--version")):
            return directory
    raise BackendError(f"there is no pg_dump of PostgreSQL {version} here")


@contextmanager
def _told_the_password(url: URL) -> Iterator[URL]:
    """Yield it as the commands know it, without the password, which others could read."""
    url, password = url.set(drivername="postgresql", password=""), str(url.password or "")
    with tempfile.NamedTemporaryFile("w") as passwords:
        passwords.write("*:*:*:*:" + re.sub(r"([:\\])", r"\\\1", password))
        passwords.flush()
        yield url.update_query_dict({"passfile": passwords.name} if password else {})


def _run(
    command: list[str | Path],
    url: URL,
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> None:
    ran = subprocess.run(  # noqa: S603
        [*command, f"--dbname={url.render_as_string(hide_password=False)}"],
        check=False,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip() or f"status {ran.returncode}"
        raise BackendError(said.splitlines()[0].replace(" error:", "", 1))
