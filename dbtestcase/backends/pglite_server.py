"""PostgreSQL in WebAssembly: PGlite, in Node.js, installed once and started from a snapshot."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ..exceptions import BackendError
from .cached import ARCHIVE, cached, kept_in
from .node import Node, find_node
from .private_server import PrivateServer

#: What its part of the cache is called.
KIND = "pglite"

#: The npm packages, which are each other's exact peers.
PACKAGES = {"@electric-sql/pglite": "0.5.14", "@electric-sql/pglite-pgvector": "0.0.15"}

#: Extensions that are packages of their own; others come with PGlite.
_EXTENSION_MODULES = {"vector": "@electric-sql/pglite-pgvector/dist/index.js"}
_CONTRIB = "@electric-sql/pglite/dist/contrib"

_LAYOUT = 2  # of the cached directory; count up when what is in it changes

#: What takes part in making and reading its files.
VERSION = "-".join([*PACKAGES.values(), str(_LAYOUT)])

# The packages and nothing else, and no minutes of patience with a registry that does not answer.
_NPM_OPTIONS = (
    *("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--omit=dev"),
    *("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000"),
)
_LAUNCHER = Path(__file__).with_name("pglite_launcher.mjs")

# WebAssembly by V8's baseline compiler only: PGlite boots sooner, uses less memory, and answers
# short statements faster than while the optimizing one works beside it.
_NODE_OPTIONS = ("--liftoff-only", "--no-warnings")


class PGliteServer(PrivateServer):
    """A PGlite of this process's own: PostgreSQL in WebAssembly, in Node.js, on a private socket.

    :param cache: the directory that PGlite is installed into when it is first launched.
    :param extensions: names of extensions that ``CREATE EXTENSION`` is to find.
    :param archive: a data directory to start from when it is launched next, as :meth:`save` has
        written it; None for an empty one.
    """

    title = "PGlite"
    _signals = ("KILL", "KILL")

    def __init__(
        self, cache: Path, extensions: tuple[str, ...] = (), archive: Path | None = None
    ) -> None:
        super().__init__(cache)
        self.archive = archive
        self.extensions = extensions

    def save(self, archive: Path, checkpoint: Callable[[], object]) -> None:
        """Write the data directory, with all that is committed, to ``archive``.

        It is compressed if the name ends in ``.gz``, and there when it is complete.

        :param checkpoint: executes CHECKPOINT, outside of a transaction, on the one connection.
        :raises BackendError: that is not possible.
        """
        order = self.socket_directory / "save"  # which the launcher looks for
        error = order.with_suffix(".error")
        error.unlink(missing_ok=True)
        order.write_text(str(archive))
        try:
            checkpoint()
        finally:
            order.unlink(missing_ok=True)
        if error.exists():
            raise BackendError(f"PGlite cannot save its data: {error.read_text()}")
        if not archive.exists():
            raise BackendError(f"PGlite did not write its data to {archive}")

    def found(self) -> str:
        node = find_node()
        state = "installed" if kept_in(self.cache, KIND) else "installed at first use"
        return f"PGlite {PACKAGES['@electric-sql/pglite']}, {state}; {node.node}"

    def _start(self, directory: Path) -> None:
        node = find_node()
        installed = install(self.cache, node)
        modules = installed / "node_modules"
        self._supervise(
            [
                node.node,
                *_NODE_OPTIONS,
                _LAUNCHER,
                "serve",
                modules,
                self.archive or installed / ARCHIVE,
                directory / ".s.PGSQL.5432",
                *(f"{_module(modules, name)}={_exported(name)}" for name in self.extensions),
            ],
            directory,
        )


def install(cache: Path, node: Node) -> Path:
    """Return the directory PGlite is installed in, after installing it if that was not done."""

    def make(directory: Path) -> None:
        _download(directory, node)
        _make_snapshot(directory, node)

    note = f"installing PGlite {PACKAGES['@electric-sql/pglite']} with npm, about ten seconds"
    return cached(cache, KIND, VERSION, note, make)


def _download(directory: Path, node: Node) -> None:
    package = {"private": True, "dependencies": PACKAGES}
    (directory / "package.json").write_text(json.dumps(package))
    advice = (
        "  To fix this, see to it that npm can download packages (proxy, registry, network):\n"
        "  try `npm view @electric-sql/pglite version`. It is needed once; later runs are offline."
    )
    _run([*node.npm, "install", *_NPM_OPTIONS], directory, "npm cannot install PGlite", advice)


def _make_snapshot(directory: Path, node: Node) -> None:
    modules, snapshot = directory / "node_modules", directory / ARCHIVE
    _run(
        [node.node, *_NODE_OPTIONS, _LAUNCHER, "snapshot", modules, snapshot],
        directory,
        "PGlite cannot make its first data directory",
        f"  To fix this, try another version of Node.js than {node.node}",
    )


def _run(command: Sequence[str | Path], directory: Path, failure: str, advice: str) -> None:
    ran = subprocess.run(  # noqa: S603
        command,
        cwd=directory,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if ran.returncode:
        said = ran.stdout[:2000].decode(errors="replace").strip()
        raise BackendError(f"{failure} in {directory.parent}. It said:\n{said}\n{advice}")


def _module(modules: Path, extension: str) -> str:
    name = _EXTENSION_MODULES.get(extension, f"{_CONTRIB}/{_exported(extension)}.js")
    if not (modules / name).is_file():
        contrib = [Path(path).stem for path in os.listdir(modules / _CONTRIB) if path[-3:] == ".js"]
        known = ", ".join(sorted([*contrib, *_EXTENSION_MODULES]))
        raise BackendError(f"PGlite has no extension {extension!r}; there are {known}")
    return name


def _exported(extension: str) -> str:
    """Return the name of an extension in JavaScript, which ``uuid-ossp`` is not."""
    return extension.replace("-", "_")
