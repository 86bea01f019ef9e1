"""The configuration of logging, which code that we call on behalf of a test may not change."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CONFIGURERS = ("fileConfig", "dictConfig")
_STATE = ("level", "propagate", "disabled")


@contextmanager
def logging_kept() -> Iterator[None]:
    """Keep handlers and loggers as they are, whatever the block does to them.

    ``fileConfig`` and ``dictConfig`` would close the handlers that there are, so that they do
    nothing for those who import them inside the block.
    """
    configurers = {name: getattr(logging.config, name) for name in _CONFIGURERS}
    before = [(logger, _state(logger)) for logger in _loggers()]
    for name in _CONFIGURERS:
        setattr(logging.config, name, _ignored)
    try:
        yield
    finally:
        for name, configurer in configurers.items():
            setattr(logging.config, name, configurer)
        for logger, state in before:
            if _state(logger) != state:
                _restore(logger, *state)


def _ignored(*args: Any, **kwargs: Any) -> None:
    """Stand in for a function that configures logging."""


def _loggers() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict.values()
    return [logging.root, *(one for one in known if isinstance(one, logging.Logger))]


def _state(logger: logging.Logger) -> tuple[list[Any], list[logging.Handler], list[Any]]:
    return (
        [getattr(logger, name) for name in _STATE],
        list(logger.handlers),
        list(logger.filters),
    )


def _restore(
    logger: logging.Logger, state: list[Any], handlers: list[logging.Handler], filters: list[Any]
) -> None:
    level, logger.propagate, logger.disabled = state
    logger.setLevel(level)
    logger.handlers[:] = handlers
    logger.filters[:] = filters
