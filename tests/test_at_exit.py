"""What is done as a process ends, in each way that a process can have been started."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

from . import inner

ROOT = Path(__file__).parent.parent


class AtExit(unittest.TestCase):
    def test_last_in_first_out(self) -> None:
        for start_method in ("fork", "spawn", "forkserver"):
            with self.subTest(start_method), inner.directory() as directory:
                path = directory / "main.py"
                path.write_text(_MAIN.format(root=str(ROOT)))
                ran = subprocess.run(
                    [sys.executable, "-W", "error", str(path), start_method],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.assertEqual(ran.returncode, 0, ran.stderr)
                # Harmless when called again, as all that is done at exit has to be.
                first_calls = list(dict.fromkeys(ran.stdout.split()))
                self.assertEqual(first_calls, ["works", "second", "first"])


_MAIN = """
import multiprocessing, sys
sys.path.insert(0, {root!r})
from dbtestcase.at_exit import call_at_exit

def say(what):
    print(what, flush=True)

def work():
    call_at_exit(say, "first")
    call_at_exit(say, "second")
    say("works")

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    process = multiprocessing.Process(target=work)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""
