"""How far a copy is: a local SQLite file, committed after each batch that the target took.

It lies beside the caller, not in the target: no database that qvec writes to has a common place for foreign state, a
file serves all of them alike, and since documents are written by id, a journal one batch behind its target costs that
batch once more and nothing else.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from qvec.errors import ConfigError
from qvec.migrate.errors import MigrationError
from qvec.migrate.source import Position
from qvec.types import Document, Vector

SAMPLE = 256
"""Records whose text and vector are compared at the end."""

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, source TEXT NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS errors (place TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sample (hash INTEGER PRIMARY KEY, id TEXT NOT NULL, digest TEXT NOT NULL, vector BLOB);
"""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A record as it was handed to the target: the hash of its content, and its vector."""

    id: str
    digest: str
    vector: Vector


class Journal:
    """The state of one copy; it is held by one process at a time.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=0.2, isolation_level=None)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(f"BEGIN EXCLUSIVE; {_TABLES} COMMIT;")
        except sqlite3.OperationalError as exc:
            raise MigrationError(f"the journal {path} is in use by another copy, or cannot be written: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise ConfigError(f"{path} is no journal of a copy: {exc}") from exc

    def begin(self, job: Mapping[str, str], *, restart: bool) -> None:
        """Go on with a copy, or start one.

        Raises:
            MigrationError: the file was made for another copy, or the source has changed since; not for `restart`.
        """
        known = self.fact("job")
        written = json.dumps(job, sort_keys=True)
        was = json.loads(known or "{}")
        if restart or self.fact("done"):
            self._forget()
            if any(was.get(key) != job[key] for key in ("target", "collection")):
                self._db.execute("DELETE FROM facts WHERE name = 'made'")
        elif known and known != written:
            raise MigrationError(
                f"the journal {self.path} is of another copy, or its source has changed: {_changed(was, job)}. "
                "Start over with restart=True, or name another journal"
            )
        self._put("job", written)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def position(self) -> Position:
        """After which row to go on."""
        found: Position = json.loads(self.fact("position") or "null")
        return found

    def fact(self, name: str) -> str:
        """Read what was noted under a name; empty when nothing was."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def note(self, name: str, value: str) -> None:
        """Write a fact at once."""
        with self.transaction():
            self._put(name, value)

    def seen(self, ids: Sequence[str]) -> set[str]:
        """Which of these documents were copied."""
        found = self._db.execute("SELECT id FROM documents WHERE id IN (SELECT value FROM json_each(?))", (_json(ids),))
        return {str(row[0]) for row in found}

    def written(self, ids: Sequence[str]) -> set[str]:
        """Which of these records the copy wrote."""
        found = self._db.execute("SELECT id FROM records WHERE id IN (SELECT value FROM json_each(?))", (_json(ids),))
        return {str(row[0]) for row in found}

    def refused(self, places: Sequence[str]) -> set[str]:
        """Which of these rows were not copied."""
        found = self._db.execute(
            "SELECT place FROM errors WHERE place IN (SELECT value FROM json_each(?))", (_json(places),)
        )
        return {str(row[0]) for row in found}

    def commit(
        self,
        position: Position,
        ids: Iterable[str],
        records: Sequence[Document],
        sampled: Iterable[Sampled],
        errors: Iterable[tuple[str, str]],
        *,
        long: int = 0,
    ) -> None:
        """Note a batch that the target has taken, all of it or nothing."""
        rows = ((sample_hash(item.id), item.id, item.digest, item.vector.tobytes()) for item in sampled)
        written = ((document.id, document.source, document.digest) for document in records)
        with self.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO documents VALUES (?)", ((identity,) for identity in ids))
            db.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", written)
            db.executemany("INSERT OR REPLACE INTO errors VALUES (?, ?)", errors)
            db.executemany("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?)", rows)
            db.execute(
                "DELETE FROM sample WHERE hash NOT IN (SELECT hash FROM sample ORDER BY hash LIMIT ?)", (SAMPLE,)
            )
            self._put("position", json.dumps(position))
            self._put("long", str(int(self.fact("long") or 0) + long))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write several things, all of them or nothing.

        Raises:
            MigrationError: the file cannot be written, as on a full disk.
        """
        try:
            self._db.execute("BEGIN")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as exc:
            raise MigrationError(
                f"the journal {self.path} cannot be written ({exc}): see that its disk has room and run this again"
            ) from exc

    def is_sampled(self, identity: str) -> bool:
        """Whether a record may be one of the sample: those with the smallest hashes are."""
        row = self._db.execute("SELECT count(*), max(hash) FROM sample").fetchone()
        return int(row[0]) < SAMPLE or sample_hash(identity) <= int(row[1])

    def count(self, table: str) -> int:
        """Count the rows of ``documents``, ``records`` or ``errors``."""
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    def records(self, size: int = 1000) -> Iterator[list[tuple[str, str, str]]]:
        """Read id, source and digest of what was written, in batches."""
        cursor = self._db.execute("SELECT id, source, digest FROM records ORDER BY id")
        while rows := cursor.fetchmany(size):
            yield rows

    def errors(self, most: int = -1) -> list[tuple[str, str]]:
        """Read the bad rows, place and reason, in the order in which they were met."""
        found = self._db.execute("SELECT place, reason FROM errors ORDER BY rowid LIMIT ?", (most,))
        return [(str(place), str(reason)) for place, reason in found]

    def sample(self) -> list[Sampled]:
        """Read the sample."""
        rows = self._db.execute("SELECT id, digest, vector FROM sample ORDER BY hash").fetchall()
        return [Sampled(identity, digest, np.frombuffer(vector, np.float32)) for identity, digest, vector in rows]

    def close(self) -> None:
        """Let another process have the file."""
        self._db.close()

    def _forget(self) -> None:
        """Forget how far the copy was; that the target is its own stays known."""
        for table in ("documents", "records", "errors", "sample"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608
        self._db.execute("DELETE FROM facts WHERE name IN ('position', 'done', 'long')")

    def _put(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def _changed(was: Mapping[str, str], job: Mapping[str, str]) -> str:
    return "; ".join(f"{key} was {was.get(key)!r}, is {job[key]!r}" for key in job if was.get(key) != job[key])


def sample_hash(identity: str) -> int:
    """Hash an id so that the smallest hashes make a sample that is the same in every run."""
    return zlib.crc32(identity.encode()) << 16 | zlib.adler32(identity.encode()) & 0xFFFF


def _json(ids: Sequence[str]) -> str:
    return json.dumps(list(ids), ensure_ascii=False)
