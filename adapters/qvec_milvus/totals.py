"""How many tokens a collection has, all documents together: what BM25 needs and Milvus cannot sum."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

from qvec_milvus.filters import among
from qvec_milvus.postings import LENGTH_BITS, has_length_bit, has_term
from qvec_milvus.reading import Reader

PROPERTY = "qvec.tokens"
"""The property of a Lite collection that holds its total and for how many documents; empty while it is written to."""

_REMEMBERED = 200_000
"""Ids and sources of a load into an empty collection that are remembered, so that not each batch is looked up."""


class ServerTotals:
    """Count on a server: tokens by the bits of the lengths, a count a bit; the documents with a term, a count a term.

    Both are remembered while the collection's size stays.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, tuple[int, int]] = {}
        self._containing: dict[str, dict[str, int]] = {}

    def of(self, name: str) -> tuple[int, int]:
        """Return a collection's number of documents and of tokens."""
        documents = self._reader.count(name)
        known = self._known.get(name)
        if known is None or known[0] != documents:
            tokens = sum(self._reader.count(name, has_length_bit(bit)) << bit for bit in range(LENGTH_BITS))
            self._containing.pop(name, None)
            known = self._known[name] = (documents, tokens)
        return known

    def containing(self, name: str, terms: Sequence[str]) -> dict[str, int]:
        """Count the documents that hold each term; `of` is to be asked first, so that nothing old is remembered."""
        known = self._containing.setdefault(name, {})
        found = {term: known[term] if term in known else self._reader.count(name, has_term(term)) for term in terms}
        if len(known) < _REMEMBERED:
            known.update(found)
        return found

    def are_new(self, name: str, sources: Sequence[str]) -> bool:
        """Tell nothing: others may write to a server."""
        return False

    @contextmanager
    def changing(self, name: str, _ids: Sequence[str], _sources: Sequence[str], _tokens: int) -> Iterator[None]:
        """Forget what is known of a collection while it is written to."""
        self.forget(name)
        yield
        self.forget(name)

    def settle(self, name: str) -> None:
        """Do nothing: each total is counted when it is asked for."""

    def forget(self, name: str) -> None:
        """Forget a collection that is dropped."""
        self._known.pop(name, None)
        self._containing.pop(name, None)


class LiteTotals:
    """Keep a Lite collection's total in a property, because reading every length takes a second for 20,000 documents.

    The first write since the last `settle` empties the property, so that a killed process leaves none that is wrong;
    from then on the total is kept here, by what each write adds and takes away. One process holds a Lite file.
    """

    def __init__(self, reader: Reader, *, read: Callable[[str], str], write: Callable[[str, str], None]) -> None:
        self._reader = reader
        self._read = read
        self._write = write
        self._lock = RLock()
        self._open: dict[str, int | None] = {}
        self._written: dict[str, set[str]] = {}
        self._known: dict[str, tuple[int, int]] = {}
        self._turns: Counter[str] = Counter()

    def turn(self, name: str) -> int:
        """Tell how often a collection was changed: what was read before is only good for the same number."""
        return self._turns[name]

    def of(self, name: str) -> tuple[int, int]:
        """Return a collection's number of documents and of tokens."""
        with self._lock:
            if name in self._known:
                return self._known[name]
            documents = self._reader.count(name)
            tokens = self._open[name] if name in self._open else self._kept(name, documents)
            if tokens is None:
                tokens = self._summed(name)
                if name in self._open:
                    self._open[name] = tokens
                else:
                    self._keep(name, documents, tokens)
            self._known[name] = documents, tokens
            return documents, tokens

    def are_new(self, name: str, sources: Sequence[str]) -> bool:
        """Tell whether a collection surely holds nothing of these sources: a load into an empty one goes on."""
        # Without the lock, which a write holds: it notes its sources before it begins.
        written = self._written.get(name)
        return written is not None and written.isdisjoint(sources)

    @contextmanager
    def changing(self, name: str, ids: Sequence[str], sources: Sequence[str], tokens: int) -> Iterator[None]:
        """Put the tokens of `ids` in place of those that they had, once the block has written them."""
        with self._lock:
            self._known.pop(name, None)
            if name in self._open:
                total = self._open[name]
            else:
                documents = self._reader.count(name)
                total = self._kept(name, documents)
                if not documents:
                    self._written[name] = set()
                self._write(name, "")
            if total is not None:
                total += tokens - self._tokens_of(name, ids, sources)
            self._open[name] = None
            self._turns[name] += 1
            try:
                yield
            finally:
                self._turns[name] += 1
            self._open[name] = total

    def settle(self, name: str) -> None:
        """Write the total of a collection that was written to."""
        with self._lock:
            if name in self._open:
                documents, tokens = self.of(name)
                self._keep(name, documents, tokens)
                del self._open[name]
                self._written.pop(name, None)

    def forget(self, name: str) -> None:
        """Forget a collection that is dropped."""
        with self._lock:
            self._turns[name] += 1
            self._known.pop(name, None)
            self._open.pop(name, None)
            self._written.pop(name, None)

    def _tokens_of(self, name: str, ids: Sequence[str], sources: Sequence[str]) -> int:
        """Sum the tokens that the records of `ids` have now."""
        written = self._written.get(name)
        if written is not None:  # the collection was empty: what it holds was all written since, and is known
            is_new = written.isdisjoint(ids)
            written.update(ids, sources)
            if len(written) > _REMEMBERED:
                del self._written[name]
            if is_new:
                return 0
        return self._summed(name, among("id", ids))

    def _kept(self, name: str, documents: int) -> int | None:
        text = self._read(name)
        if not text:
            return None if documents else 0
        kept: dict[str, Any] = json.loads(text)
        return int(kept["tokens"]) if kept["documents"] == documents else None

    def _keep(self, name: str, documents: int, tokens: int) -> None:
        self._write(name, json.dumps({"documents": documents, "tokens": tokens}))

    def _summed(self, name: str, expression: str = "") -> int:
        return sum(row["length"] for row in self._reader.rows(name, expression, ["length"]))
