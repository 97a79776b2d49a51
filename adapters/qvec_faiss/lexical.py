"""The keyword leg: postings in SQLite, one row a term and upsert, scored as `qvec.lexical` says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain

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
    codes = _Codes()
    code = np.fromiter(map(codes.__getitem__, chain.from_iterable(counts)), np.int64)
    order = np.argsort(code, kind="stable")  # so that each term's seqs ascend
    starts = np.searchsorted(code[order], np.arange(len(codes) + 1)).tolist()
    holders = np.repeat(np.asarray(seqs, "<i8"), [len(count) for count in counts])[order].tobytes()
    frequencies = np.fromiter(chain.from_iterable(count.values() for count in counts), "<i4")[order].tobytes()
    rows = (
        (term, seqs[0], holders[8 * starts[at] : 8 * starts[at + 1]], frequencies[4 * starts[at] : 4 * starts[at + 1]])
        for term, at in sorted(codes.items())
    )
    connection.executemany(f"INSERT INTO postings_{number:d} VALUES (?, ?, ?, ?)", rows)


class _Codes(dict[str, int]):
    """Numbers for terms, in order of first appearance."""

    def __missing__(self, term: str) -> int:
        code = self[term] = len(self)
        return code


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
