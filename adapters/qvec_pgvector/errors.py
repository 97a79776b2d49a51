"""From psycopg's errors to qvec's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

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


class Mapped(AbstractContextManager[None]):
    """Raises qvec's error for whatever the block raises from psycopg.

    A class, for every query enters it: a generator takes ten times as long.

    Args:
        place: names the server in messages, without secrets.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        """Raise the error in place of what came."""
        if not isinstance(exc, psycopg.Error):
            return
        kind = next(ours for theirs, ours in MAP if isinstance(exc, theirs))
        said = " ".join(str(exc).split()) or type(exc).__name__
        advice = f" ({_ADVICE[kind]})" if kind in _ADVICE else ""
        raise kind(f"PostgreSQL at {self.place}: {said}{advice}") from exc
