"""From psycopg's errors to qvec's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from qvec.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    InvalidInputError,
    QvecError,
    UnsupportedError,
)

MAP: tuple[tuple[type[BaseException], type[QvecError]], ...] = (
    (pg.UndefinedTable, CollectionNotFoundError),
    (pg.QueryCanceled, BackendTimeoutError),
    (pg.LockNotAvailable, BackendTimeoutError),
    (pg.ConnectionTimeout, BackendConnectionError),
    (pg.InsufficientPrivilege, BackendError),
    (pg.FeatureNotSupported, UnsupportedError),
    (pg.ProgramLimitExceeded, InvalidInputError),
    (pg.DiskFull, BackendError),
    (pg.AdminShutdown, BackendConnectionError),
    (pg.CrashShutdown, BackendConnectionError),
    (pg.CannotConnectNow, BackendConnectionError),
    (pg.TooManyConnections, BackendConnectionError),
    (psycopg.DataError, InvalidInputError),
    (psycopg.OperationalError, BackendConnectionError),
    (psycopg.IntegrityError, BackendError),
    (psycopg.InternalError, BackendError),
    (psycopg.ProgrammingError, BackendError),
    (psycopg.NotSupportedError, UnsupportedError),
    (psycopg.DatabaseError, BackendError),
    (psycopg.InterfaceError, BackendConnectionError),
    (psycopg.Error, BackendError),
    (psycopg.Warning, BackendError),
)
"""Most specific first."""

_ADVICE: dict[type[QvecError], str] = {
    BackendConnectionError: "check that the server runs, and its host, port, user and password",
    BackendTimeoutError: "raise statement_timeout or lock_timeout, or try again",
}


@contextmanager
def mapped(place: str) -> Iterator[None]:
    """Raise qvec's error for whatever the block raises from psycopg; `place` names the server, without secrets."""
    try:
        yield
    except psycopg.Error as exc:
        kind = next(ours for theirs, ours in MAP if isinstance(exc, theirs))
        said = " ".join(str(exc).split()) or type(exc).__name__
        advice = f" ({_ADVICE[kind]})" if kind in _ADVICE else ""
        raise kind(f"PostgreSQL at {place}: {said}{advice}") from exc
