"""Comparing JSON documents: the whole or a part, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from .wording import cut


class Document:
    """A value that a JSON column has to have.

    :param partial: objects in it may have more keys than are named.
    """

    def __init__(self, wanted: Any, *, partial: bool = False) -> None:
        self._wanted = wanted
        self._partial = partial

    def __repr__(self) -> str:
        return f"match({self._wanted!r})" if self._partial else repr(self._wanted)

    def difference(self, found: Any) -> str:
        """Return where ``found`` differs, as in "address.city is 'Rome', not 'Paris'"; or ""."""
        if isinstance(found, str) and not isinstance(self._wanted, str):
            with suppress(ValueError):  # the database has no JSON type, or does not tell
                found = json.loads(found)
        return self._compare(self._wanted, found, "")

    def _compare(self, wanted: Any, found: Any, path: str) -> str:
        if isinstance(wanted, Mapping) and isinstance(found, Mapping):
            return self._compare_objects(wanted, found, path)
        if _is_array(wanted) and _is_array(found):
            return self._compare_arrays(wanted, found, path)
        if wanted == found and isinstance(wanted, bool) == isinstance(found, bool):
            return ""
        return f"{path} is {cut(found)}, not {cut(wanted)}" if path else f"not {cut(self)}"

    def _compare_objects(self, wanted: Mapping[Any, Any], found: Mapping[Any, Any], at: str) -> str:
        for key in wanted:
            path = f"{at}.{key}" if at else str(key)
            if key not in found:
                return f"{path} is missing"
            difference = self._compare(wanted[key], found[key], path)
            if difference:
                return difference
        for key in found if not self._partial else ():
            if key not in wanted:
                return f"{at}.{key} is not expected" if at else f"{key} is not expected"
        return ""

    def _compare_arrays(self, wanted: Sequence[Any], found: Sequence[Any], path: str) -> str:
        if len(wanted) != len(found):
            return f"{path or 'it'} has {len(found)} items, not {len(wanted)}"
        differences = (
            self._compare(one, other, f"{path}[{index}]")
            for index, (one, other) in enumerate(zip(wanted, found, strict=True))
        )
        return next(filter(None, differences), "")


def match(part: Any) -> Document:
    """Return what matches a JSON document that has ``part`` in it.

    ``assertDatabaseHas(User, profile=match({"address": {"city": "Paris"}}))``

    Objects, at any depth, may have other keys beside those that are named. Arrays are as long,
    and their items match one by one.

    :param part: dictionaries, lists, strings, numbers, booleans and None.
    """
    return Document(part, partial=True)


def _is_array(value: Any) -> bool:
    return isinstance(value, (list, tuple))
