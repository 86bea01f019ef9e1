"""Files in the cache directory: which stay, and for how long."""

from __future__ import annotations

import os
import time
import unittest
from pathlib import Path
from unittest import mock

from dbtestcase import _version
from dbtestcase.backends.template_files import TemplateFiles

from . import inner

DAY = 24 * 60 * 60


class Files(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = self.enterContext(inner.directory()) / "cache" / "kind"
        self.files = TemplateFiles(self.directory, ".db", "1.0", most=4)

    def add(self, fingerprint: str, days: float) -> Path:
        """Add a file that was last used so many days ago."""
        self.files.make_room()
        path = self.files.path(fingerprint)
        path.touch()
        os.utime(path, (time.time() - days * DAY,) * 2)
        return path

    def test_only_this_user_can_enter(self) -> None:
        self.files.make_room()
        for directory in (self.directory, self.directory.parent):
            self.assertEqual(directory.stat().st_mode & 0o777, 0o700)

    def test_what_was_not_used_for_two_weeks_goes(self) -> None:
        old, recent = self.add("old", 14.1), self.add("recent", 13.9)
        unfinished = self.directory / "unfinished"
        unfinished.touch()
        os.utime(unfinished, (0, 0))
        self.files.make_room()
        self.assertEqual(self.files.paths(), [recent])
        self.assertFalse(old.exists() or unfinished.exists())

    def test_what_is_found_was_used(self) -> None:
        self.assertIsNone(self.files.find("a"))
        path = self.add("a", 14.1)
        self.assertEqual(self.files.find("a"), path)
        self.files.make_room()
        self.assertEqual(self.files.paths(), [path])

    def test_of_too_many_those_used_last_stay(self) -> None:
        paths = [self.add(str(days), days) for days in (3, 1, 4, 2, 0)]
        self.assertEqual(self.files.paths(), sorted(paths[i] for i in (0, 1, 3, 4)))

    def test_each_version_has_its_own(self) -> None:
        path = self.files.path("a")
        self.assertEqual(TemplateFiles(self.directory, ".db", "1.0").path("a"), path)
        others = [
            TemplateFiles(self.directory, ".db", *versions).path("a")
            for versions in (["1.1"], ["1.0", "extension"], [])
        ]
        with mock.patch.object(_version, "VERSION", "another"):
            others.append(self.files.path("a"))
        self.assertEqual(len({path, *others}), 5)
