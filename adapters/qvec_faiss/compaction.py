"""Taking away what replaced and deleted documents leave behind: their postings, and the log of their deaths."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np

from qvec_faiss.mirror import Ints

_AT_LEAST = 1000
_SHARE = 0.25

Posting = tuple[str, bytes, bytes]


def is_due(connection: sqlite3.Connection, number: int) -> bool:
    """Tell whether enough has died."""
    (dead,) = connection.execute(f"SELECT count(*) FROM dead_{number:d}").fetchone()
    if dead <= _AT_LEAST:
        return False
    (live,) = connection.execute(f"SELECT count(*) FROM documents_{number:d}").fetchone()
    return bool(dead > _SHARE * live)


def compact(connection: sqlite3.Connection, number: int) -> None:
    """Write the postings anew without the dead, one row a term, and empty the log; inside a transaction.

    A mirror that has not read all of the log starts again: `catch_up` sees that entries are missing.
    """
    live = np.array([row[0] for row in connection.execute(f"SELECT seq FROM documents_{number:d} ORDER BY seq")])
    connection.execute(f"CREATE TEMP TABLE kept_{number:d} (term TEXT, seqs BLOB, frequencies BLOB)")
    connection.executemany(f"INSERT INTO kept_{number:d} VALUES (?, ?, ?)", _kept(connection, number, live))
    connection.execute(f"DELETE FROM postings_{number:d}")
    # Segments are named by the first seq of an upsert, which is 1 or more.
    connection.execute(
        f"INSERT INTO postings_{number:d} SELECT term, 0, seqs, frequencies FROM kept_{number:d} ORDER BY rowid"
    )
    connection.execute(f"DROP TABLE kept_{number:d}")
    connection.execute(f"DELETE FROM dead_{number:d}")


def _kept(connection: sqlite3.Connection, number: int, live: Ints) -> Iterator[Posting]:
    rows = connection.execute(f"SELECT term, seqs, frequencies FROM postings_{number:d} ORDER BY term, segment")
    for term, segments in groupby(rows, key=itemgetter(0)):
        parts = list(segments)
        seqs = np.frombuffer(b"".join(part[1] for part in parts), "<i8")
        kept = np.isin(seqs, live)
        if kept.any():
            frequencies = np.frombuffer(b"".join(part[2] for part in parts), "<i4")
            yield term, seqs[kept].tobytes(), frequencies[kept].tobytes()
