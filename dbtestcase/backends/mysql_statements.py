"""What a statement does to a MariaDB or MySQL server, as far as its text says."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_NOISE = re.compile(
    r"""(?P<text> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*` )
      | /\*M?!\d*  # what follows is executed, up to the next */
      | \*/ | /\*.*?\*/ | --(?=\s|$)[^\n]* | \#[^\n]*""",
    re.VERBOSE | re.DOTALL,
)

# https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/
# https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html
_COMMITS = re.compile(
    r"""(?:
      (?:CREATE|DROP)\ (?!(?:OR\ REPLACE\ )?TEMPORARY\b)
    | (?:ALTER|RENAME|TRUNCATE|GRANT|REVOKE|FLUSH|RESET|LOCK|UNLOCK|INSTALL|UNINSTALL|IMPORT
        |CHANGE|START|STOP|SHUTDOWN|RESTART|BACKUP|CLONE|BEGIN(?!\ NOT\b)|COMMIT|ROLLBACK|XA)\b
    | (?:ANALYZE|OPTIMIZE|REPAIR|CHECK)\ (?:NO_WRITE_TO_BINLOG\ |LOCAL\ )?(?:TABLE|TABLES|VIEW)\b
    | (?:CACHE\ INDEX|LOAD\ INDEX|SET\ PASSWORD|SET\ DEFAULT\ ROLE)\b
    | SET\ .*\bAUTOCOMMIT\b
    )""",
    re.VERBOSE,
)
_FOR = re.compile(r"SET STATEMENT .*? FOR ")
_KNOWN = {
    *("SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE", "LOAD", "DO"),
    *("SHOW", "EXPLAIN", "DESC", "DESCRIBE", "ANALYZE", "CHECKSUM", "HELP", "HANDLER"),
    *("SET", "USE", "PREPARE", "DEALLOCATE", "CREATE", "DROP", "KILL", "SAVEPOINT", "RELEASE", ""),
}
_READERS = {"SELECT", "SHOW", "WITH", "VALUES", "TABLE", "EXPLAIN", "DESC", "DESCRIBE", "HELP"}
_HAS_EFFECT = re.compile(
    r"""\bINTO\b | :=
      | \b(?:GET_LOCK|RELEASE_LOCK|RELEASE_ALL_LOCKS|NEXTVAL|SETVAL|LAST_INSERT_ID)\s*\((?!\))
      | \bNEXT\s+VALUE\b
      | [\w`]\s*\.\s*[\w`]+\s*\(  # a routine of another database
    """,
    re.VERBOSE,
)
_WRITES = re.compile(r"\b(?:INSERT|(?<!FOR )UPDATE|DELETE)\b")
_ALTERS = re.compile(r"(?:CREATE|ALTER|DROP|RENAME)\b(?! (?:OR REPLACE )?TEMPORARY\b)")
_AUTOCOMMIT = re.compile(
    r"SET\s+(?:(?:SESSION|LOCAL)\s+|@@(?:(?:SESSION|LOCAL)\.)?)?AUTOCOMMIT\s*:?=\s*"
    r"(?:(?P<on>1|ON|TRUE)|0|OFF|FALSE)"
)
_LEVEL = re.compile(r"SET (?:(?:SESSION|LOCAL) )?TRANSACTION\b.*")
_CONTROL = re.compile(
    r"(?P<begin>START TRANSACTION\b.*|BEGIN(?: WORK)?)"
    r"|(?P<end>COMMIT|ROLLBACK)(?: WORK)?(?: AND NO CHAIN| AND (?P<chain>CHAIN))?(?: NO RELEASE)?"
)


class Kind(NamedTuple):
    """What a statement does."""

    reads: bool  #: it certainly writes nothing
    commits: bool  #: it commits the open transaction, or would end it, as a side effect
    known: bool  #: and what it does is in its text
    alters: bool  #: it changes the schema


@lru_cache(maxsize=4096)
def kind_of(sql: str) -> Kind:
    """Classify ``sql``, in doubt as what costs more."""
    parts = _parts(sql)
    words = [re.split(r"\W", part.lstrip("( "), maxsplit=1)[0] for part in parts]
    return Kind(
        reads=len(parts) <= 1 and all(map(_reads, words, parts)),
        commits=any(map(_COMMITS.match, parts)),
        known=set(words) <= _KNOWN,
        alters=any(map(_ALTERS.match, parts)),
    )


@lru_cache(maxsize=2048)
def controls(sql: str) -> tuple[str, ...] | None:
    """Return the plain transaction control that ``sql`` comes down to, None if it is no such.

    What is decided once for the transaction around all others comes down to nothing.
    """
    parts = _parts(sql)
    if len(parts) != 1:
        return None
    if _LEVEL.fullmatch(parts[0]):
        return ()
    match = _CONTROL.fullmatch(parts[0])
    if match is None:
        return None
    if match["begin"]:
        return ("BEGIN",)
    return (match["end"], "BEGIN") if match["chain"] else (match["end"],)


@lru_cache(maxsize=2048)
def autocommit_in(sql: str) -> bool | None:
    """Return what ``sql`` sets ``autocommit`` to, None if it does something else."""
    parts = _parts(sql)
    match = _AUTOCOMMIT.fullmatch(parts[0]) if len(parts) == 1 else None
    return None if match is None else bool(match["on"])


def without_comments(sql: str) -> str:
    """Return ``sql`` without its comments, except for what is executed of them."""
    return _NOISE.sub(lambda match: match["text"] or " ", sql)


def _reads(word: str, part: str) -> bool:
    if word not in _READERS or _HAS_EFFECT.search(part):
        return False
    return word in {"SELECT", "SHOW", "VALUES"} or _WRITES.search(part) is None


def _parts(sql: str) -> list[str]:
    """Return the statements in ``sql``, in capitals, without comments and literals."""
    bare = _NOISE.sub(lambda match: "``" if match["text"] else " ", sql)
    parts = (_FOR.sub("", " ".join(part.upper().split())) for part in bare.split(";"))
    return [part for part in parts if part]
