"""What one run of indexing has seen, on disk, so that its memory stays constant.

It is asked and told about a window at a time: every statement of SQLite hands the interpreter to the other threads, so
a statement for each document would wait for them as often as there are documents.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeVar

_ROWS = 400  # twice that is below the 999 values that every SQLite takes in one statement
Row = TypeVar("Row")
_Noted = Literal["sources", "kept", "stale"]


class Seen:
    """A private database, gone when it is closed."""

    def __init__(self) -> None:
        self._store = sqlite3.connect("")  # an empty name is a private database that spills to disk
        self._store.executescript(
            "CREATE TABLE ids (id TEXT PRIMARY KEY, digest TEXT) WITHOUT ROWID;"
            "CREATE TABLE sources (id TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE kept (id TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE stale (id TEXT PRIMARY KEY) WITHOUT ROWID;"
        )

    def close(self) -> None:
        """Throw it away."""
        self._store.close()

    def first_digests(self, digests: Sequence[tuple[str, str]]) -> list[str | None]:
        """Note documents by id and digest, each unless its id was noted before.

        Returns:
            For each the digest that its id was noted with before, by this call too; None for a new id.
        """
        known: dict[str, str] = {}
        for part in _parts([identity for identity, _ in digests]):
            marks = ", ".join("?" * len(part))
            known.update(self._store.execute(f"SELECT id, digest FROM ids WHERE id IN ({marks})", part))  # noqa: S608
        found: list[str | None] = []
        new: list[tuple[str, str]] = []
        for identity, digest in digests:
            found.append(known.get(identity))
            if identity not in known:
                known[identity] = digest
                new.append((identity, digest))
        for rows in _parts(new):
            values = [value for row in rows for value in row]
            marks = ", ".join(["(?, ?)"] * len(rows))
            self._store.execute(f"INSERT INTO ids VALUES {marks}", values)  # noqa: S608
        return found

    def note(self, what: _Noted, ids: Iterable[str]) -> None:
        """Note sources that were mentioned, records that are kept, or those that may be stale."""
        for part in _parts(list(dict.fromkeys(ids))):
            marks = ", ".join(["(?)"] * len(part))
            self._store.execute(f"INSERT OR IGNORE INTO {what} VALUES {marks}", part)  # noqa: S608

    def has_source(self, source: str) -> bool:
        """Tell whether a source was noted."""
        return self._store.execute("SELECT 1 FROM sources WHERE id = ?", (source,)).fetchone() is not None

    def stale(self, size: int) -> Iterator[list[str]]:
        """Yield the records that may be stale and are not kept, so many at a time."""
        rows = self._store.execute("SELECT id FROM stale WHERE id NOT IN (SELECT id FROM kept)")
        while found := rows.fetchmany(size):
            yield [record for (record,) in found]


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))
