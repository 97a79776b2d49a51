"""What keyword searches of a Milvus Lite file have read, kept until the collection is written to.

Lite scans every record for each term that is asked for, and to bring thousands of records takes it tenths of a second.
One process holds a Lite file, so nobody else can change what is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from qvec_milvus.bm25 import Postings

MOST = 500_000
"""So many records' counts of a term are kept of a collection, some 100 bytes each."""


@dataclass(slots=True)
class _Kept:
    turn: int
    entries: int = 0
    frequencies: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def add(self, terms: Sequence[str], found: Postings) -> None:
        """Keep what was found of terms; of one id there is one string."""
        for term in terms:
            counts = found.frequencies.get(term, {})
            self.frequencies[term] = {self.ids.setdefault(id, id): count for id, count in counts.items()}
            self.entries += len(counts)
        self.lengths.update((self.ids.setdefault(id, id), length) for id, length in found.lengths.items())

    def of(self, terms: Sequence[str]) -> Postings:
        """Give what is kept of terms."""
        return Postings(
            frequencies=defaultdict(dict, ((term, self.frequencies[term]) for term in terms)), lengths=self.lengths
        )


class HeldPostings:
    """Keep postings by collection and term.

    Args:
        turn: tells how often a collection was changed.
        most: the largest number of entries of a collection; with more, all are forgotten and read again.
    """

    def __init__(self, turn: Callable[[str], int], most: int = MOST) -> None:
        self._turn = turn
        self._most = most
        self._lock = Lock()
        self._kept: dict[str, _Kept] = {}

    def of(self, name: str, terms: Sequence[str], read: Callable[[Sequence[str]], Postings]) -> Postings:
        """Return the postings of terms, reading those that are not kept; what a write overtakes is not kept."""
        turn = self._turn(name)
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or kept.turn != turn:
                kept = self._kept[name] = _Kept(turn)
            missing = [term for term in terms if term not in kept.frequencies]
            if not missing:
                return kept.of(terms)
        found = read(missing)
        with self._lock:
            if self._turn(name) == turn:
                if kept.entries > self._most:
                    self._kept.pop(name, None)
                kept.add(missing, found)
                return kept.of(terms)
        return read(terms)
