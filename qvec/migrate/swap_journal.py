"""How far a swap is: what the shadow was given of each record, in a local SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from qvec.migrate.journal import Journal

_TABLE = """
CREATE TABLE IF NOT EXISTS followed (id TEXT PRIMARY KEY, digest TEXT NOT NULL, round INTEGER NOT NULL) WITHOUT ROWID
"""


class SwapJournal(Journal):
    """The digest that live collection and shadow agreed on, for each record; held by one process at a time.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute(_TABLE)
        self._round = int(self.fact("round") or 0)

    def begin_round(self) -> None:
        """Begin another pass over all records."""
        self._round += 1
        self.note("round", str(self._round))

    def known(self, ids: Sequence[str]) -> dict[str, str]:
        """Return id -> digest of those records that were followed."""
        wanted = json.dumps(list(ids), ensure_ascii=False)
        statement = "SELECT id, digest FROM followed WHERE id IN (SELECT value FROM json_each(?))"
        return {str(identity): str(digest) for identity, digest in self._db.execute(statement, (wanted,))}

    def follow(self, digests: Mapping[str, str]) -> None:
        """Note the digests of records that were met in this pass."""
        rows = [(identity, digest, self._round) for identity, digest in digests.items()]
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO followed VALUES (?, ?, ?)", rows)

    def not_met(self, size: int = 500) -> Iterator[dict[str, str]]:
        """Read the records that this pass did not meet, in batches of id -> digest."""
        last = ""
        statement = "SELECT id, digest FROM followed WHERE round < ? AND id > ? ORDER BY id LIMIT ?"
        while rows := self._db.execute(statement, (self._round, last, size)).fetchall():
            last = str(rows[-1][0])
            yield {str(identity): str(digest) for identity, digest in rows}

    def forget(self, ids: Sequence[str]) -> None:
        """Forget records that are gone."""
        with self.transaction() as db:
            db.executemany("DELETE FROM followed WHERE id = ?", ((identity,) for identity in ids))
