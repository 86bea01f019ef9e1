"""What stays in memory of a test: nothing."""

from __future__ import annotations

import subprocess
import sys
import unittest

SUITE = """
import resource, sys, unittest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert
from dbtestcase import DatabaseTestCase

metadata = MetaData()
files = Table("files", metadata, Column("id", Integer, primary_key=True),
              Column("data", LargeBinary))
peaks = []

class Writing(DatabaseTestCase):
    database = "sqlite://"
    metadata = metadata

    @classmethod
    def setUpTestData(cls, session):
        session.execute(insert(files).values(data=bytes(400_000)))

def test(self):
    self.session.execute(files.update().values(data=bytes(400_001)))
    self.session.commit()
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

for number in range(100):
    setattr(Writing, f"test_{number:03}", test)
result = unittest.TextTestRunner(stream=sys.stdout).run(
    unittest.defaultTestLoader.loadTestsFromTestCase(Writing))
assert result.wasSuccessful()
print(peaks[-1] - peaks[19])
"""


class Memory(unittest.TestCase):
    def test_does_not_grow_with_the_tests_of_a_class_that_has_data(self) -> None:
        ran = subprocess.run([sys.executable, "-c", SUITE], check=True, stdout=subprocess.PIPE)
        grown = int(ran.stdout.split()[-1]) / (1024 if sys.platform == "darwin" else 1)
        self.assertLess(grown / 80, 40, "kilobytes per test, each of which has written 400")
