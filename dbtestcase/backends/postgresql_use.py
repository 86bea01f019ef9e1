"""When a template on a PostgreSQL server was used last, and whether a database is a whole one."""

from __future__ import annotations

import json
import time

from .. import _version

_DAY = 24 * 60 * 60
_KEPT_DAYS = 14


def today() -> int:
    return int(time.time() // _DAY)


def used_today(by: str) -> str:
    """Return the comment that says so."""
    return json.dumps({by: _version.VERSION, "used": today()})


def last_use(comment: str) -> int | None:
    """Return the day that :func:`used_today` has written down, if it has."""
    try:
        used = json.loads(comment)["used"]
    except (ValueError, TypeError, KeyError):
        return None
    return used if isinstance(used, int) else None


def is_broken(comment: str) -> bool:
    """Tell whether a process was killed while it dropped that database."""
    return comment == "broken"


def is_old(comment: str) -> bool:
    """Tell whether it was not used for long, or was by a clock that has been set back since."""
    used = last_use(comment)
    return used is not None and not -1 <= today() - used <= _KEPT_DAYS
