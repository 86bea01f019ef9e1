"""PGlite: what a test costs, and what three hundred classes do to memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .databases import no_module
from .measure import SIZE, Group, Taken, Target, adds_less, at_least
from .per_test import async_floor, async_ours, async_recipe, sync_floor, sync_ours, sync_recipe
from .processes import numbers_of, times_of


def py_pglite() -> Mapping[str, float]:
    """Return the milliseconds of a test with py-pglite's server, by what isolates it."""
    plugins = ["py_pglite.pytest_plugin", "benchmarks.peers.py_pglite_tests"]
    return times_of("py_pglite", SIZE.tests, *plugins)


def many_classes() -> Mapping[str, float]:
    """Return what becomes of time and memory over many classes in one process."""
    return numbers_of("-m", "benchmarks.many_classes", str(SIZE.many_classes), "pglite://")


def _per_test() -> Group:
    measures = {
        "no isolation": partial(sync_floor, "pglite://"),
        "hand-written recipe": partial(sync_recipe, "pglite://"),
        "py-pglite": py_pglite,
        "dbtestcase": partial(sync_ours, "pglite://"),
    }
    targets = [
        at_least(5, "py-pglite: pglite_session", "dbtestcase"),
        adds_less(1, "dbtestcase", "hand-written recipe", "no isolation"),
    ]
    missing = no_module("py_pglite", "psycopg", "pytest")
    return Group("sync-pglite", "sync test, PGlite (ms)", measures, targets, 5, missing)


def _per_async_test() -> Group:
    measures = {
        "no isolation, one loop": partial(async_floor, "pglite://"),
        "hand-written recipe": partial(async_recipe, "pglite://"),
        "dbtestcase": partial(async_ours, "pglite://"),
    }
    targets = [at_least(5, "hand-written recipe", "dbtestcase")]
    missing = no_module("py_pglite", "asyncpg")
    return Group("async-pglite", "async test, PGlite (ms)", measures, targets, 5, missing)


def _memory() -> Group:
    def steady(taken: Taken) -> tuple[str, bool]:
        grown = {
            who: max(taken[f"dbtestcase: {who} grew per class, kB"]) for who in ("Python", "server")
        }
        said = ", ".join(f"{who} {value:.1f} kB per class" for who, value in grown.items())
        return said, max(grown.values()) < 20

    target = Target("memory does not grow with classes (less than 20 kB each)", steady)
    title = f"{SIZE.many_classes} classes on PGlite in one process"
    missing = no_module("psycopg", "asyncpg")
    return Group("classes-pglite", title, {"dbtestcase": many_classes}, [target], 2, missing)


def groups() -> list[Group]:
    return [_per_test(), _per_async_test(), _memory()]
