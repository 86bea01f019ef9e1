"""The page about failures, whose example is run and has to say what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from . import inner

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "failures.rst").read_text()


def blocks(language: str) -> list[str]:
    """Return the examples in that language."""
    found = re.findall(rf"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", PAGE)
    return [re.sub(r"(?m)^    ", "", block).strip() for block in found]


def normalized(text: str) -> str:
    """Return ``text`` without what is another in each run, or by SQLAlchemy 2.0."""
    for pattern, instead in [
        (r"\d+\.\d ms", "T ms"),
        (r"dbtestcase-kept-\w+", "dbtestcase-kept"),
        (r" AS \w+", ""),
    ]:
        text = re.sub(pattern, instead, text)
    return text


class Page(unittest.TestCase):
    def test_each_output_is_real(self) -> None:
        [example] = blocks("python")
        outputs = [block for block in blocks("text") if block.startswith("$ ")]
        self.assertEqual(len(outputs), 4)
        with inner.directory() as directory:
            (directory / "test_shop.py").write_text(f"{example}\n")
            for output in outputs:
                command, _, shown = output.partition("\n...\n")
                with self.subTest(command):
                    said = self.run_there(directory, command)
                    self.assertIn(normalized(shown), normalized(said))

    def run_there(self, directory: Path, command: str) -> str:
        """Return what a command of the page says, in a directory with the example."""
        *variables, _, _, _, test = command.removeprefix("$ ").split()
        self.assertIn("python -m unittest ", command)
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-m", "unittest", test],
            cwd=directory,
            env={
                **os.environ,
                "DBTESTCASE_DATABASE": "sqlite://",
                "PYTHONPATH": str(ROOT),
                "TMPDIR": "/tmp",  # noqa: S108  # where the page has it
                **dict(variable.split("=") for variable in variables),
            },
            check=False,
            capture_output=True,
            text=True,
        )
        for remove in re.findall("rm -r (/tmp/dbtestcase-kept-.*)", ran.stderr):
            shutil.rmtree(remove)
        return ran.stderr
