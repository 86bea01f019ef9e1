"""Several databases in one test class: the options of each, and which of them a table is in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import MetaData, Table, inspect
from sqlalchemy.sql import ClauseElement, visitors

from .backends import shown
from .exceptions import BackendError, OptionError, UsageError
from .schema import Schema, check_migrations, metadata_in, metadata_schema, migrations_schema
from .wording import joined, suggestion

#: The database that a test's own engine, connection and session belong to.
DEFAULT = "default"

_OPTIONS = ("database", "metadata", "migrations", "engines")
_EXAMPLE = 'databases = {"default": {"metadata": Base.metadata}, "other": {…}}'

Value = TypeVar("Value")


class ByAlias(dict[str, Value]):
    """What a test class has of each of its databases."""

    def __missing__(self, alias: object) -> Value:
        hint = suggestion(str(alias), self, "there is")
        raise UsageError(f"there is no database {alias!r}; {hint}")


class DatabaseOptions(NamedTuple):
    """The options of one database."""

    database: str | None
    metadata: tuple[MetaData, ...]
    engines: Any
    place: str = ""  # where they are written, if not on the class
    migrations: Any = None
    revision: str = "heads"  # that the migrations are applied up to

    def schema(self) -> Schema:
        """Return where its tables come from: the migrations if there are any, else the metadata.

        :raises OptionError: there are no migrations where they should be.
        """
        if self.migrations is None:
            return metadata_schema(self.metadata)
        return migrations_schema(self.migrations, self.revision)

    @property
    def is_migrated_by_tests(self) -> bool:
        """Whether the metadata need not say what is in it, as tests take it to other revisions."""
        return self.revision != "heads"

    def tables(self) -> list[Table]:
        """Return the tables that are known to be in it."""
        return [table for metadata in self.metadata for table in metadata.tables.values()]

    def has(self, target: Any) -> bool:
        """Tell whether ``target``, a mapped class, a table or the name of one, is known to be."""
        if isinstance(target, str):
            return any(target in metadata.tables for metadata in self.metadata)
        return any(table.metadata in self.metadata for table in _tables_of(target))


@contextmanager
def placing(place: str) -> Iterator[None]:
    """Let errors about options say in which place these are."""
    try:
        yield
    except (BackendError, OptionError) as error:
        raise type(error)(f"{place}{error}") from error.__cause__


def databases_of(case: Any) -> ByAlias[DatabaseOptions]:
    """Return the options of each database of ``case``, the default one first.

    :raises OptionError: they are wrong, or contradict those of the class.
    """
    if case.databases is None:
        options = _options(case.database, case.metadata, case.migrations, case.engines)
        return ByAlias({DEFAULT: options._replace(revision=case._dbtestcase_revision)})
    _check_shape(case.databases)
    _check_class(case)
    aliases = sorted(case.databases, key=lambda alias: alias != DEFAULT)
    found = ByAlias({alias: _options_in(alias, case.databases[alias]) for alias in aliases})
    _check_metadata(found)
    return found


def alias_of(target: Any, using: str | None, databases: ByAlias[DatabaseOptions]) -> str:
    """Return the alias of the database to look for ``target`` in.

    :param target: a mapped class, a ``Table``, or the name of a table; what no database is known
        to have is looked for in the default one.
    :param using: the alias that was asked for, if one was.
    :raises UsageError: several databases have the table.
    """
    if using is not None:
        return using
    found = [alias for alias, options in databases.items() if options.has(target)]
    if len(found) > 1:
        name = getattr(target, "__name__", target)
        raise UsageError(
            f"{name!r} is in the databases {joined(map(repr, found))}; "
            f"write for example using={found[-1]!r}"
        )
    return found[0] if found else DEFAULT


def targets_by_alias(
    targets: Iterable[Any], using: str | None, databases: ByAlias[DatabaseOptions]
) -> dict[str, list[Any]]:
    """Return those of ``targets`` that are in each database; where there are none, all databases.

    Arguments and errors are those of :func:`alias_of`.
    """
    found: dict[str, list[Any]] = {}
    for target in targets:
        found.setdefault(alias_of(target, using, databases), []).append(target)
    if not found:
        aliases = databases if using is None else [alias_of(None, using, databases)]
        found = {alias: [] for alias in aliases}
    return found


def _tables_of(target: Any) -> Iterator[Table]:
    selectable = getattr(inspect(target, raiseerr=False), "persist_selectable", target)
    if isinstance(selectable, ClauseElement):
        for element in visitors.iterate(selectable):
            if isinstance(element, Table):
                yield element


def _options(
    database: Any, metadata: Any, migrations: Any, engines: Any, place: str = ""
) -> DatabaseOptions:
    if database is not None and not isinstance(database, str):
        raise OptionError(f'database = {_shown(database)} is not a string; write "sqlite://"')
    check_migrations(migrations)
    return DatabaseOptions(database, metadata_in(metadata), engines, place, migrations)


def _options_in(alias: str, options: Any) -> DatabaseOptions:
    place = f'databases["{alias}"]: '
    with placing(place):
        if not isinstance(options, Mapping):
            raise OptionError(f"{_shown(options)} is not a dictionary; write {_EXAMPLE}")
        for name in options:
            if name not in _OPTIONS:
                hint = suggestion(str(name), _OPTIONS, "there is", cutoff=0.7)
                raise OptionError(f"there is no option {name!r} of one database; {hint}")
        database, metadata, migrations, engines = map(options.get, _OPTIONS)
        return _options(database, metadata, migrations, engines, place)


def _shown(value: Any) -> str:
    """Return how ``value``, which may have a URL in it, is written, without a password."""
    return shown(repr(value))


def _check_shape(databases: Any) -> None:
    if not isinstance(databases, Mapping):
        raise OptionError(f"databases = {_shown(databases)} is not a dictionary; write {_EXAMPLE}")
    for alias in databases:
        if not isinstance(alias, str):
            raise OptionError(f"databases has {alias!r}, which is no string; write {_EXAMPLE}")
    if DEFAULT not in databases:
        near = get_close_matches(DEFAULT, databases, n=1)
        hint = f"did you mean it by {near[0]!r}?" if near else f"write {_EXAMPLE}"
        raise OptionError(f"databases has no {DEFAULT!r}, which self.session needs; {hint}")


def _check_class(case: Any) -> None:
    for name in _OPTIONS:
        if getattr(case, name) not in (None, (), []):
            owner = next(base for base in case.__mro__ if name in vars(base))
            raise OptionError(
                f"databases and {name}, which {owner.__name__} has, contradict each other.\n"
                f'  To fix this, write {name} into databases["{DEFAULT}"], and {name} = None on '
                f"the class if it has to override that of {owner.__name__}"
            )


def _check_metadata(databases: ByAlias[DatabaseOptions]) -> None:
    owners: dict[MetaData, str] = {}
    for alias, options in databases.items():
        for metadata in options.metadata:
            if owners.setdefault(metadata, alias) != alias:
                raise OptionError(
                    f"databases {owners[metadata]!r} and {alias!r} have the same metadata, so that "
                    "nobody can tell which of them a table is in.\n  To fix this, give it to one "
                    "of them, and to the other a MetaData of its own"
                )
