"""Where migrations are: the configuration of Alembic, the files, and what they amount to."""

from __future__ import annotations

import configparser
import hashlib
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError, coerce_resource_to_filename

from ..code_digest import code_digest
from ..exceptions import OptionError
from .reading import fix_of, read_revisions
from .reports import named

#: What says where files are, not what is in them, or is asked when revisions are written.
_NOT_CONTENT = {
    *("here", "sqlalchemy.url", "script_location", "version_locations", "prepend_sys_path"),
    *("path_separator", "version_path_separator", "file_template", "timezone"),
    *("truncate_slug_length", "output_encoding", "revision_environment"),
}
_NOT_SECTIONS = ("logger", "handler", "formatter", "post_write_hooks")
_NOT_SCRIPTS = (".pyc", ".pyo", ".mako", ".swp", "~")


class MigrationSource:
    """What the ``migrations`` option stands for.

    :param option: the path of an ``alembic.ini`` or ``pyproject.toml``, or of a directory with an
        ``env.py``, or a ``Config`` of Alembic.
    :raises OptionError: nothing is there.
    """

    def __init__(self, option: Any) -> None:
        self.title = f"migrations = {str(option) if isinstance(option, os.PathLike) else option!r}"
        self.option = option
        self._stamp: object = None  # of the files that were read last
        self._revisions: list[Script] | None = None  # once they have been read
        self._paths: list[str] = []  # what the configuration puts before sys.path
        with self.explaining():
            self._read()

    def config(self) -> Config:
        """Return a configuration that ``env.py`` may change, as it likes to."""
        option = self.option
        if isinstance(option, Config):
            return _copied(option)
        path = Path(option)
        if path.is_dir():
            if not (path / "env.py").is_file():
                raise OptionError(f"{self.title}: {path.absolute()} is a directory without env.py")
            config = Config()
            config.set_main_option("script_location", str(path.absolute()).replace("%", "%%"))
            return config
        if not path.is_file():
            raise OptionError(
                f"{self.title}: there is no file {path.absolute()}.\n"
                "  To fix this, name it from where the tests run, or as "
                'Path(__file__).parent / "alembic.ini"'
            )
        is_toml = path.suffix == ".toml"
        beside = path.with_name("alembic.ini" if is_toml else "pyproject.toml")
        other = str(beside) if beside.is_file() else None  # which alembic reads as well
        return Config(other, toml_file=str(path)) if is_toml else Config(str(path), toml_file=other)

    def digest(self, scripts: list[Script] | None = None) -> str:
        """Return a digest of all that shapes what ``scripts``, or all, make of a database."""
        files = self._files()
        if self._stamp != _stamp(files):
            self._read()
        unwanted = set() if scripts is None else _paths(self.revisions()) - _paths(scripts)
        digest = hashlib.sha256(repr([alembic.__version__, self._settings]).encode())
        for name, path in files:
            if path not in unwanted:
                content = Path(path).read_bytes()
                digest.update(f"{name} {len(content)} ".encode() + content)
        return digest.hexdigest()

    def revisions(self) -> list[Script]:
        """Return all revisions, each after those that it needs.

        :raises OptionError: they are no history.
        """
        if self._revisions is None:
            try:
                with self.on_path(), self.explaining():
                    self._revisions = read_revisions(self.scripts, self.files())
            except Exception:
                self._read()  # as Alembic warns only once
                raise
        return list(self._revisions)

    def files(self) -> list[Path]:
        """Return all files that migrations consist of or may read."""
        return [Path(path) for _, path in self._files()]

    def where(self) -> str:
        """Return the directories of the revisions, as a message has them."""
        return " and ".join(map(str, self._locations))

    @contextmanager
    def on_path(self) -> Iterator[None]:
        """Let modules be found where the configuration says, in ``prepend_sys_path``."""
        before = list(sys.path)
        sys.path[:0] = [path for path in self._paths if path not in before]
        try:
            yield
        finally:
            sys.path[:] = before

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Let what Alembic has to complain of say which option it is about."""
        try:
            yield
        except CommandError as error:
            explained = OptionError(f"{self.title}: {error}{fix_of(str(error))}")
            raise explained.with_traceback(error.__traceback__) from None
        except AttributeError as error:
            if error.name not in ("upgrade", "downgrade"):
                raise
            for script in self._revisions or ():
                if script.module is error.obj:
                    raise OptionError(
                        f"{self.title}: revision {named(script)} has no {error.name}(), in\n"
                        f'File "{script.path}"\n'
                        "  To fix this, write it, with pass in it if there is nothing to do"
                    ) from None
            raise

    def _read(self) -> None:
        before = list(sys.path)
        try:
            config = self.config()
            self.scripts = ScriptDirectory.from_config(config)
            self._paths = sys.path[: len(sys.path) - len(before)]
        except (configparser.Error, tomllib.TOMLDecodeError) as error:
            raise OptionError(f"{self.title} cannot be read: {error}") from None
        finally:
            sys.path[:] = before
        self._revisions = None
        directory = self.scripts.dir
        if not Path(directory, "env.py").is_file():
            raise OptionError(f"{self.title}: the script directory {directory} has no env.py")
        named = self.scripts.version_locations or [str(Path(directory, "versions"))]
        self._locations = [coerce_resource_to_filename(one).absolute() for one in named]
        self._settings = _settings(config)
        self._stamp = _stamp(self._files())
        if config.get_main_option("databases"):
            raise OptionError(_MULTIDB.format(title=self.title))

    def _files(self) -> list[tuple[str, str]]:
        """Return a name and the path of all files that migrations consist of or may read."""
        found: dict[str, str] = {}
        for number, directory in enumerate([Path(self.scripts.dir), *self._locations]):
            top = os.path.realpath(directory)
            for parent, inside, names in os.walk(top):
                inside[:] = [one for one in inside if one != "__pycache__" and one[0] != "."]
                for name in names:
                    if not name.endswith(_NOT_SCRIPTS) and name[0] != "." and name != "README":
                        path = os.path.join(parent, name)
                        found.setdefault(path, f"{number}{path[len(top) :]}")
        return sorted((name, path) for path, name in found.items())


def _paths(scripts: list[Script]) -> set[str]:
    return {os.path.realpath(script.path) for script in scripts}


def _stamp(files: list[tuple[str, str]]) -> object:
    return [(name, os.stat(path).st_mtime_ns, os.stat(path).st_size) for name, path in files]


def _settings(config: Config) -> object:
    parser: configparser.ConfigParser = config.file_config
    found: list[Any] = [
        (section, name, value)
        for section in parser.sections()
        if not section.startswith(_NOT_SECTIONS)
        for name, value in parser.items(section, raw=True)
        if name not in _NOT_CONTENT
    ]
    toml = config.toml_alembic_config
    found += [(name, repr(toml[name])) for name in toml if name not in _NOT_CONTENT]
    said = [dict(config.attributes), vars(config.cmd_opts) if config.cmd_opts else {}]
    found.append(("attributes and cmd_opts", code_digest(said)))
    return sorted(found, key=repr)


def _copied(config: Config) -> Config:
    copy = Config(
        config.config_file_name,
        toml_file=config.toml_file_name,
        ini_section=config.config_ini_section,
        cmd_opts=config.cmd_opts,
        config_args=config.config_args,
        attributes=dict(config.attributes),
    )
    for section in config.file_config.sections():
        for name, value in config.file_config.items(section, raw=True):
            if copy.file_config.get(section, name, raw=True, fallback=None) != value:
                copy.set_section_option(section, name, value)
    return copy


_MULTIDB = """\
{title}: it migrates several databases at once, as "alembic init -t multidb" has it, and a \
database of a test is one.
  To fix this, give each of the databases of the test class a script directory of its own"""
