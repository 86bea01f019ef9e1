"""Disks that are soon full, seen only by a process and those that it starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .processes import IS_ROOT
from .servers import needs

ROOT = Path(__file__).parent.parent


def on_a_small_disk(directory: Path, options: str, *command: Any) -> Sequence[Any]:
    """Return what runs ``command`` with a disk, as of ``size=3m``, in place of ``directory``."""
    mount = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    return ["unshare", "--mount", "/bin/sh", "-c", mount, directory, *command]


def _missing() -> str:
    """Return why there can be none, as in most containers."""
    if not (IS_ROOT and shutil.which("unshare")):
        return "only root can mount them, on Linux"
    command = on_a_small_disk(ROOT, "size=64k", "true")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stderr.strip() if ran.returncode else ""


needs_small_disks = needs("small disks", _missing(), required=())


def run_on_a_small_disk(
    case: unittest.TestCase, directory: Path, options: str, code: str, *arguments: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python code there, and return what it said."""
    python = (sys.executable, "-W", "error", "-c", code, *arguments)
    command = on_a_small_disk(directory, options, *python)
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    case.assertEqual(ran.returncode, 0, ran.stderr)
    return ran
