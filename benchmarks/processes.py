"""Processes that measure something and write numbers at their end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).parent.parent

_PYTEST = ("-m", "pytest", "-q", "-c", "/dev/null", "--rootdir=.", "-p", "no:cacheprovider")
_ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a process whose modules are compiled, as after a first run."""
    found = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}
    return {**found, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


def numbers_of(*command: str, **variables: str) -> dict[str, float]:
    """Return the numbers that a Python process writes at its end."""
    written = _output(*command, **variables).rpartition("numbers: ")[2].splitlines()[0]
    found: dict[str, float] = json.loads(written)
    return found


def unittest_seconds(module: str, **variables: str) -> float:
    """Return how long ``python -m unittest`` takes for a module, from its start to its end."""
    start = perf_counter()
    _output("-m", "unittest", module, **variables)
    return perf_counter() - start


def _output(*command: str, **variables: str) -> str:
    with TemporaryDirectory() as temporary:
        ran = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment(TMPDIR=temporary, **variables),
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{ran.stdout}\n{ran.stderr}")
    return ran.stdout


def times_of(peer: str, count: int, *plugins: str, **variables: str) -> dict[str, float]:
    """Return the milliseconds of a test in ``benchmarks/peers``, by what isolates it.

    :param count: how many tests of each kind to run.
    :param plugins: those of pytest that are loaded, and no others.
    """
    return numbers_of(*_pytest(peer, plugins), TESTS=str(count), **_ALONE, **variables)


def run_tests(peer: str, *plugins: str, options: Sequence[str] = (), **variables: str) -> None:
    """Run the tests in ``benchmarks/peers``."""
    _output(*_pytest(peer, plugins), *options, **_ALONE, **variables)


def _pytest(peer: str, plugins: Iterable[str]) -> list[str]:
    loaded = [f"-p{plugin}" for plugin in (*plugins, "benchmarks.peers.timing")]
    return [*_PYTEST, *loaded, f"benchmarks/peers/{peer}_tests.py"]
