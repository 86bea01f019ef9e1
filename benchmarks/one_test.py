"""A process that says when it was where: ``python -m benchmarks.one_test URL``."""

import sys
import time


def say_when() -> None:
    print(time.monotonic(), flush=True)


def main(url: str) -> None:
    say_when()
    import unittest

    from .models import Base, work

    say_when()
    from dbtestcase import DatabaseTestCase

    say_when()

    class Ours(DatabaseTestCase):
        database = url
        metadata = Base.metadata

        def setUp(self) -> None:
            say_when()
            super().setUp()

        def test(self) -> None:
            work(self.session)

        def tearDown(self) -> None:
            super().tearDown()
            self.addCleanup(say_when)

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Ours)
    sys.exit(not unittest.TextTestRunner().run(suite).wasSuccessful())


if __name__ == "__main__":
    main(sys.argv[1])
