"""From the errors of sqlite3, the file system and FAISS to qvec's."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from types import TracebackType

from qvec.errors import BackendConnectionError, BackendError, BackendTimeoutError, InvalidInputError, QvecError

MAP: tuple[tuple[type[BaseException], type[QvecError]], ...] = (
    (sqlite3.IntegrityError, BackendError),
    (sqlite3.ProgrammingError, BackendError),
    (sqlite3.InternalError, BackendError),
    (sqlite3.NotSupportedError, BackendError),
    (sqlite3.DataError, InvalidInputError),
    (sqlite3.OperationalError, BackendError),
    (sqlite3.DatabaseError, BackendError),
    (sqlite3.InterfaceError, BackendError),
    (sqlite3.Error, BackendError),
    (sqlite3.Warning, BackendError),
    (OSError, BackendConnectionError),
    (RuntimeError, BackendError),
)
"""Most specific first. FAISS raises RuntimeError alone."""

_THEIRS = tuple(theirs for theirs, _ in MAP)

_BY_CODE: dict[int, tuple[type[QvecError], str]] = {
    sqlite3.SQLITE_BUSY: (BackendTimeoutError, "another process is writing to it; try again"),
    sqlite3.SQLITE_LOCKED: (BackendTimeoutError, "another connection is using it; try again"),
    sqlite3.SQLITE_FULL: (BackendError, "the disk is full; nothing of this call was written; make room and run again"),
    sqlite3.SQLITE_READONLY: (BackendError, "it is read-only; nothing was written"),
    sqlite3.SQLITE_CANTOPEN: (BackendConnectionError, "it cannot be opened; check the folder and its permissions"),
    sqlite3.SQLITE_CORRUPT: (BackendError, "its file is damaged; restore it from a backup, or index again"),
    sqlite3.SQLITE_NOTADB: (BackendConnectionError, "its file is not an SQLite database"),
    sqlite3.SQLITE_IOERR: (BackendError, "the disk failed or is full"),
}


class Mapped(AbstractContextManager[None]):
    """Raises qvec's error for whatever the block raises from SQLite, the file system or FAISS.

    A class, for every query enters several: a generator takes ten times as long.

    Args:
        place: the folder's name in messages.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        """Raise the error in place of what came."""
        if exc is None or isinstance(exc, QvecError) or not isinstance(exc, _THEIRS):
            return
        code = getattr(exc, "sqlite_errorcode", None)
        # The low byte is the primary code: SQLITE_IOERR_WRITE and the like are extended ones.
        known = _BY_CODE.get(code & 0xFF) if isinstance(code, int) else None
        kind, advice = known or (next(ours for theirs, ours in MAP if isinstance(exc, theirs)), str(exc))
        raise kind(f"FAISS folder {self.place}: {advice}") from exc
