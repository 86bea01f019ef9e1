"""``python -m dbtestcase doctor`` and ``python -m dbtestcase clean``."""

import sys

from .doctor import main

if __name__ == "__main__":
    sys.exit(main())
