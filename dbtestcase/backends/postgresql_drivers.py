"""What is particular to each driver for PostgreSQL, beside what SQLAlchemy's adapters even out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .links import to_the_end

_IN_TRANSACTION = 2  # as libpq has it
_IN_ERROR = 3  # in one that has been aborted


class Driver(NamedTuple):
    """How a driver executes statements, and what it knows of the transaction."""

    #: Execute several statements at one go.
    control: Callable[[Any, str], None]
    #: Execute a method of a cursor.
    execute: Callable[..., Any]
    in_transaction: Callable[[Any], bool]
    was_aborted: Callable[[Any, BaseException], bool]
    in_failed_transaction: Callable[[Any, str], Exception]
    is_closed: Callable[[Any], bool]


def _control_psycopg2(connection: Any, sql: str) -> None:
    cursor = connection.cursor()
    cursor.execute(sql)
    cursor.close()


def _control_psycopg(connection: Any, sql: str) -> None:
    cursor = connection.cursor()
    cursor.execute(sql, prepare=False)
    cursor.close()


def _control_psycopg_async(connection: Any, sql: str) -> None:
    from sqlalchemy.util import await_only

    await_only(to_the_end(connection.driver_connection.execute(sql, prepare=False)))


def _control_asyncpg(connection: Any, sql: str) -> None:
    from sqlalchemy.util import await_only

    try:
        await_only(to_the_end(connection.driver_connection.execute(sql)))
    except Exception as error:
        if _is_closed_asyncpg(connection):  # which SQLAlchemy would say in its own words
            raise connection.dbapi.OperationalError(str(error)) from error
        raise


def _execute(connection: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
    return method(*args, **kwargs)


def _execute_psycopg_async(connection: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
    """Let the server cancel it: psycopg itself closes the connection if that does not succeed."""
    from sqlalchemy.util import await_only, greenlet_spawn

    work = greenlet_spawn(method, *args, **kwargs)
    return await_only(to_the_end(work, cancel=connection.driver_connection.cancel_safe))


def _is_closed(connection: Any) -> bool:
    return bool(connection.closed)


def _is_closed_psycopg_async(connection: Any) -> bool:
    return bool(connection.driver_connection.closed)


def _is_closed_asyncpg(connection: Any) -> bool:
    return bool(connection.driver_connection.is_closed())


def _is_in_transaction(connection: Any) -> bool:
    return connection.info.transaction_status in (_IN_TRANSACTION, _IN_ERROR)


def _is_in_transaction_asyncpg(connection: Any) -> bool:
    raw = connection.driver_connection
    return bool(raw.is_in_transaction() and not raw.is_closed())


def _was_aborted(connection: Any, error: BaseException) -> bool:
    return bool(connection.info.transaction_status != _IN_TRANSACTION)


def _was_aborted_asyncpg(connection: Any, error: BaseException) -> bool:
    """Tell by the class of the error; of parameters that it cannot encode the server hears not."""
    from asyncpg.exceptions import InterfaceError  # type: ignore[import-untyped]

    return not isinstance(error.__cause__, InterfaceError)


def _failed_psycopg(dbapi: Any, message: str) -> Exception:
    import psycopg.errors

    return psycopg.errors.InFailedSqlTransaction(message)


def _failed_psycopg2(dbapi: Any, message: str) -> Exception:
    error: Exception = dbapi.errors.InFailedSqlTransaction(message)
    return error


def _failed_asyncpg(dbapi: Any, message: str) -> Exception:
    original = dbapi.asyncpg.exceptions.InFailedSQLTransactionError(message)
    error: Exception = dbapi.Error(message, original)
    return error


#: By name, and whether it is asynchronous.
DRIVERS = {
    ("psycopg", False): Driver(
        _control_psycopg,
        _execute,
        _is_in_transaction,
        _was_aborted,
        _failed_psycopg,
        _is_closed,
    ),
    ("psycopg", True): Driver(
        _control_psycopg_async,
        _execute_psycopg_async,
        _is_in_transaction,
        _was_aborted,
        _failed_psycopg,
        _is_closed_psycopg_async,
    ),
    ("psycopg2", False): Driver(
        _control_psycopg2,
        _execute,
        _is_in_transaction,
        _was_aborted,
        _failed_psycopg2,
        _is_closed,
    ),
    ("asyncpg", True): Driver(
        _control_asyncpg,
        _execute,
        _is_in_transaction_asyncpg,
        _was_aborted_asyncpg,
        _failed_asyncpg,
        _is_closed_asyncpg,
    ),
}


def settings(driver: str, **values: str) -> dict[str, Any]:
    """Return the argument for the driver's ``connect`` that lets settings have ``values``."""
    if driver == "asyncpg":
        return {"server_settings": values}
    return {"options": " ".join(f"-c{name}={value}" for name, value in values.items())}
