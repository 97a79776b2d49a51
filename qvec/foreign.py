"""Adapters over what other programs wrote: they read and search it where it lies and write nothing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from threading import Lock
from typing import NoReturn, Protocol, Self, runtime_checkable

from qvec.adapter import Adapter
from qvec.checks import check_k
from qvec.errors import UnsupportedError
from qvec.filters import Filter, matches
from qvec.keyword_index import KeywordIndex
from qvec.layouts import Layout
from qvec.types import CollectionSpec, Document, Hit, Passport, Vectors
from qvec.uri import URI

_AT_ONCE = 200


@runtime_checkable
class SupportsLayout(Protocol):
    """An adapter that can read collections which other programs wrote into its database."""

    @abstractmethod
    def with_layout(self, layout: Layout) -> ForeignAdapter:
        """Return an adapter for the collections of a layout; it owns this one's connection."""


class ForeignAdapter(Adapter):
    """Read another program's collections. Every write raises ``UnsupportedError``.

    The keyword leg has the tokens and the BM25 of every other adapter: the texts are read once, at the first keyword
    search, and again when `mark` has changed or after `refresh`; the postings live in this process.

    Args:
        layout: where the other program keeps what.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._keywords: dict[str, tuple[object, KeywordIndex]] = {}
        self._lock = Lock()

    @abstractmethod
    def mark(self, name: str) -> object:
        """Return a value that is another one when the records have changed."""

    @classmethod
    def from_uri(cls, uri: URI) -> Self:
        """Refuse: the adapter of the database makes this one."""
        raise UnsupportedError(f"{cls.__name__} is opened through qvec.connect(uri, layout=...)")

    @classmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        """Name none: what others wrote has its place already."""
        return None

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Refuse to write."""
        self._refuse(spec.name)

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Refuse to write."""
        self._refuse(name)

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        """Refuse to write."""
        self._refuse(name)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Refuse to write."""
        self._refuse(name)

    def refresh(self, name: str) -> None:
        """Read the texts anew at the next keyword search."""
        self.describe_collection(name)
        with self._lock:
            self._keywords.pop(name, None)

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Score by BM25 in this process."""
        check_k(k, offset)
        index = self._keyword_index(name)
        return [list(islice(self._hits(name, index.ranked(query), filter), offset, offset + k)) for query in queries]

    def _hits(self, name: str, ranked: Sequence[tuple[str, float]], filter: Filter | None) -> Iterator[Hit]:
        for start in range(0, len(ranked), _AT_ONCE):
            some = dict(ranked[start : start + _AT_ONCE])
            for document in self.get(name, list(some)):
                if filter is None or matches(filter, document.metadata):
                    yield Hit(document, some[document.id])

    def _keyword_index(self, name: str) -> KeywordIndex:
        with self._lock:
            mark = self.mark(name)
            held = self._keywords.get(name)
            if held is None or held[0] != mark:
                index = KeywordIndex()
                for batch in self.scan(name):
                    for document in batch.documents:
                        index.add(document.id, document.searchable_text)
                held = self._keywords[name] = (mark, index)
            return held[1]

    def _refuse(self, name: str) -> NoReturn:
        raise UnsupportedError(
            f"collection {name!r} was written by another program and is open with layout={self.layout.name!r}, "
            "read-only: write with that program, or open the database without a layout and index into a collection "
            "of qvec's own"
        )


def with_layout(adapter: Adapter, layout: Layout) -> Adapter:
    """Read the collections of another program through an adapter.

    Raises:
        UnsupportedError: the adapter reads none; it is closed then.
    """
    if isinstance(adapter, SupportsLayout):
        return adapter.with_layout(layout)
    database = adapter.capabilities.database
    adapter.close()
    raise UnsupportedError(f"{database} reads no collections of other programs: open it without a layout")
