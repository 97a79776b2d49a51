"""The keyword leg: postings in SQLite, one row a term and upsert, scored as `qvec.lexical` says."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from qvec.lexical import K1, B, Cuts, idf, query_terms, words
from qvec.types import Document

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counted:
    """The tokens of some documents, by term and then by document.

    Attributes:
        lengths: number of tokens of each document.
        terms: ascending.
        starts: where each term's entries start, and where the last one's end.
        places: each entry's document, from 0.
        frequencies: how often the document has the term.
    """

    lengths: list[int]
    terms: list[str]
    starts: list[int]
    places: Ints
    frequencies: Ints


def counted(documents: Sequence[Document]) -> Counted:
    """Count tokens: each word is cut once, and what its tokens are is worked out for all documents together."""
    codes = _Codes()
    found = [np.fromiter(map(codes.__getitem__, words(item.searchable_text)), np.int64) for item in documents]
    pieces = [_cuts[word] for word in codes]
    terms = sorted(set(chain.from_iterable(pieces)))
    number = dict(zip(terms, range(len(terms)), strict=True))
    tokens = np.fromiter(map(number.__getitem__, chain.from_iterable(pieces)), np.int64)
    sizes = np.fromiter(map(len, pieces), np.int64, len(pieces))
    firsts = np.cumsum(sizes) - sizes

    word = np.concatenate(found) if found else np.empty(0, np.int64)
    size = sizes[word]
    skipped = np.repeat(firsts[word] - (np.cumsum(size) - size), size)
    holder = np.repeat(np.repeat(np.arange(len(found)), [len(item) for item in found]), size)
    entries = tokens[skipped + np.arange(len(skipped))] * len(found) + holder
    entries.sort()
    new = np.flatnonzero(np.diff(entries, prepend=-1))
    term, place = np.divmod(entries[new], max(len(found), 1))
    return Counted(
        np.bincount(holder, minlength=len(found)).tolist(),
        terms,
        np.searchsorted(term, np.arange(len(terms) + 1)).tolist(),
        place,
        np.diff(new, append=len(entries)),
    )


def write_postings(connection: sqlite3.Connection, number: int, seqs: Sequence[int], counts: Counted) -> None:
    """Write the postings of one upsert as one segment; its name is its first seq, which is never used again."""
    holders = np.asarray(seqs, "<i8")[counts.places].tobytes()
    frequencies = counts.frequencies.astype("<i4").tobytes()
    rows = (
        (term, seqs[0], holders[8 * start : 8 * end], frequencies[4 * start : 4 * end])
        for term, (start, end) in zip(counts.terms, pairwise(counts.starts), strict=True)
    )
    connection.executemany(f"INSERT INTO postings_{number:d} VALUES (?, ?, ?, ?)", rows)


class _Codes(dict[str, int]):
    """Numbers for words, in order of first appearance."""

    def __missing__(self, word: str) -> int:
        code = self[word] = len(self)
        return code


_cuts: Cuts[str] = Cuts(iter)


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
