"""That the examples in ``docs/assertions.rst`` do what it says, and that it says enough."""

from __future__ import annotations

import re
import textwrap
import unittest
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import dbtestcase

from . import inner

DOCS = Path(__file__).parent.parent / "docs"
ASSERTIONS = (DOCS / "assertions.rst").read_text()
_BLOCK = re.compile(r"\.\. code-block:: (python|text)\n\n((?:    .*\n|\n)+)")


class Example(NamedTuple):
    """The body of a test, and what it says if it is to fail."""

    code: str
    failure: str


def blocks() -> list[tuple[str, str]]:
    """Return the language and the text of each block."""
    return [(kind, textwrap.dedent(text).strip()) for kind, text in _BLOCK.findall(ASSERTIONS)]


def examples() -> Iterator[Example]:
    """Yield what follows the set-up."""
    following = [*blocks()[1:], ("", "")]
    for (kind, code), (next_kind, text) in pairwise(following):
        if kind == "python":
            yield Example(code, text if next_kind == "text" else "")


def case_of(example: Example) -> type[unittest.TestCase]:
    """Return a test case with ``example`` as its only test."""
    setup = blocks()[0][1]
    is_async = "await " in example.code
    code = setup.replace("DatabaseTestCase", "AsyncDatabaseTestCase") if is_async else setup
    method = f"{'async ' if is_async else ''}def test(self):\n"
    body = textwrap.indent(method + textwrap.indent(example.code, "    "), "    ")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(f"{code}\n\n{body}\n", "example", "exec", dont_inherit=True), namespace)  # noqa: S102
    case: type[unittest.TestCase] = namespace["Examples"]
    return case


class Examples(unittest.TestCase):
    def test_examples_pass_or_fail_as_they_say(self) -> None:
        self.assertGreater(len(list(examples())), 20)
        for example in examples():
            with self.subTest(example.code):
                result = inner.run(case_of(example))
                if not example.failure:
                    inner.passed(self, result, 1)
                    continue
                self.assertEqual(len(result.failures), 1, result.errors)
                self.reads(result.failures[0][1], example.failure)

    def reads(self, traceback: str, expected: str) -> None:
        """Compare the message in ``traceback``, which notes may follow; "…" stands for anything."""
        message = traceback.partition("AssertionError: ")[2].strip()
        pattern = re.escape(expected).replace("…", ".*")
        self.assertRegex(message, rf"\A{pattern}(\n\S|\Z)")

    def test_every_assertion_has_its_place(self) -> None:
        own = set(dir(dbtestcase.DatabaseTestCase)) - set(dir(unittest.TestCase))
        headings = re.findall(r"(?m)^(assert.*)\n-+$", ASSERTIONS)
        documented = {name for heading in headings for name in heading.split(", ")}
        self.assertEqual({name for name in own if name.startswith("assert")}, documented)
