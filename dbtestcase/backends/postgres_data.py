"""The first data directory of PostgreSQL, which initdb makes once for each version."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from ..exceptions import BackendError
from .cached import ARCHIVE, cached
from .postgres_binaries import output, version_of
from .private_server import Account

#: What its part of the cache is called.
KIND = "pgserver"

_LAYOUT = 1  # of the cached data directory; count up when initdb's options change


def initialised(cache: Path, binaries: Path, account: Account | None, place: Path) -> Path:
    """Return an archive of a data directory for this version, after making it if need be."""
    name = version_of(binaries)

    def make(directory: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="dbtestcase-", dir=place) as data:
            _initialise(binaries, int(name.split(".")[0]), Path(data), directory / ARCHIVE, account)

    note = f"initialising PostgreSQL {name}, about two seconds"
    return cached(cache, KIND, f"{name}-{_LAYOUT}", note, make) / ARCHIVE


def _initialise(
    binaries: Path, major: int, directory: Path, archive: Path, account: Account | None
) -> None:
    # Texts sort by code point everywhere; upper() and lower() know more than ASCII where they can.
    locales = [["--locale=C.UTF-8"], ["--locale=C"]]
    if major >= 17:
        locales = [["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]]
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--wal-segsize=1")
    if account is not None:
        os.chown(directory, account.uid, account.gid)
    data = directory / "data"
    for locale in locales:
        ran = subprocess.run(  # noqa: S603
            [binaries / "initdb", "-D", data, "--no-sync", *options, *locale],
            check=False,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=account and account.uid,
            group=account and account.gid,
            extra_groups=account and (),
        )
        if ran.returncode == 0:
            output("tar", "-cf", archive, "-C", data, ".")
            return
    said = ran.stdout[-2000:].decode(errors="replace").strip()
    raise BackendError(f"initdb of {binaries} failed. It said:\n{said}")
