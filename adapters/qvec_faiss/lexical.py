"""The keyword leg: postings in SQLite, one row a term and upsert, scored as `qvec.lexical` says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qvec.lexical import K1, B, idf, query_terms, term_frequencies
from qvec.types import Document

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def counted(documents: Sequence[Document]) -> tuple[list[dict[str, int]], list[int]]:
    """Count each document's tokens and their sum."""
    counts = [term_frequencies(document.searchable_text) for document in documents]
    return counts, [sum(count.values()) for count in counts]


def write_postings(
    connection: sqlite3.Connection, number: int, seqs: Sequence[int], counts: Sequence[Mapping[str, int]]
) -> None:
    """Write the postings of one upsert as one segment; its name is its first seq, which is never used again."""
    terms: dict[str, tuple[list[int], list[int]]] = {}
    for seq, count in zip(seqs, counts, strict=True):
        for term, frequency in count.items():
            found = terms.get(term)
            if found is None:
                terms[term] = ([seq], [frequency])
            else:
                found[0].append(seq)
                found[1].append(frequency)
    connection.executemany(
        f"INSERT INTO postings_{number:d} VALUES (?, ?, ?, ?)",
        (
            (term, seqs[0], np.array(found[0], "<i8").tobytes(), np.array(found[1], "<i4").tobytes())
            for term, found in sorted(terms.items())
        ),
    )


def score(connection: sqlite3.Connection, number: int, query: str, live: Ints, lengths: Ints) -> tuple[Ints, Floats]:
    """Score every live document that shares a token with the query.

    Args:
        connection: to the store.
        number: of the collection.
        query: raw text.
        live: sorted seqs of the documents that count.
        lengths: their numbers of tokens.

    Returns:
        Positions in `live`, and their BM25 scores.
    """
    total = np.zeros(len(live), np.float64)
    touched = np.zeros(len(live), np.bool_)
    if not len(live):
        return np.empty(0, np.int64), total
    norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9))
    for term in query_terms(query):
        rows = connection.execute(
            f"SELECT seqs, frequencies FROM postings_{number:d} WHERE term = ?", (term,)
        ).fetchall()
        if not rows:
            continue
        seqs = np.frombuffer(b"".join(row[0] for row in rows), "<i8")
        frequencies = np.frombuffer(b"".join(row[1] for row in rows), "<i4")
        places = np.minimum(np.searchsorted(live, seqs), len(live) - 1)
        alive = live[places] == seqs
        places, frequencies = places[alive], frequencies[alive]
        total[places] += idf(len(live), len(places)) * frequencies / (frequencies + norm[places])
        touched[places] = True
    found = np.flatnonzero(touched)
    return found, total[found]
