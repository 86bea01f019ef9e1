"""The variables of the environment: what they ask for, and what is wrong with them."""

from __future__ import annotations

import os
import warnings
from difflib import get_close_matches

from .exceptions import OptionError
from .wording import suggestion

_DATABASE = "DBTESTCASE_DATABASE"
_KEEP = "DBTESTCASE_KEEP"
_REBUILD = "DBTESTCASE_REBUILD"
_SQL = "DBTESTCASE_SQL"
_NAMES = (_DATABASE, _KEEP, _REBUILD, _SQL)

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off", "")
_SQL_REPORTS = ("failed", "all")  # of which tests

#: How much of a name must be right to be taken for another: not all of DBTESTCASE_MYSQL.
_NEAR = 0.94


def check_environment() -> None:
    """Check all variables, and warn of those whose names are nearly right.

    :raises OptionError: one has a value that it cannot have.
    """
    rebuilds(), keeps_databases(), sql_reports()
    for name in os.environ:
        near = get_close_matches(name.upper(), _NAMES, n=1, cutoff=_NEAR)
        if near and name not in _NAMES:
            warnings.warn(
                f"{name} is set, which dbtestcase does not read; did you mean {near[0]}?",
                stacklevel=2,
            )


def default_database() -> str:
    """Return the ``database`` of test classes that name none."""
    return os.environ.get(_DATABASE) or "sqlite://"


def rebuilds() -> bool:
    """Tell whether templates are to be built anew even where they exist.

    :raises OptionError: the environment says neither yes nor no.
    """
    return _is_on(_REBUILD)


def keeps_databases() -> bool:
    """Tell whether the databases of failing tests are to be kept.

    :raises OptionError: the environment says neither yes nor no.
    """
    return _is_on(_KEEP)


def sql_reports() -> str:
    """Return which tests are to have their SQL reported: "failed", "all", or "" for none.

    :raises OptionError: the environment asks for something else.
    """
    value = _value(_SQL)
    if value in _NO:
        return ""
    if value not in _SQL_REPORTS:
        hint = suggestion(value, _SQL_REPORTS, "write one of")
        raise OptionError(f"{_SQL}={value} does not exist; {hint}")
    return value


def _is_on(name: str) -> bool:
    value = _value(name)
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise OptionError(
        f"{name}={value} is neither yes nor no.\n"
        "  To fix this, write 1, true, yes or on; or 0, false, no, off or nothing"
    )


def _value(name: str) -> str:
    return os.environ.get(name, "").strip().lower()
