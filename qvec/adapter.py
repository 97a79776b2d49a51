"""The seam: what a database must do for qvec. `qvec.testing.AdapterSuite` is its judge."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol, Self, runtime_checkable

from qvec.filters import Filter
from qvec.fusion import FusionSpec
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Passport, Vector, Vectors
from qvec.uri import URI


@runtime_checkable
class Adapter(Protocol):
    """A connection to one database. Inherit from it, so that a missing method fails when the object is made.

    Any method may raise a subclass of ``QvecError`` and nothing else; the driver's exception stays as ``__cause__``.
    Every method that takes a collection's name raises ``CollectionNotFoundError`` when the database does not hold it.
    One object may be used from several threads at once.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this connection can do."""

    @classmethod
    @abstractmethod
    def from_uri(cls, uri: URI) -> Self:
        """Connect.

        Raises:
            MissingDriverError: the driver is not installed.
            BackendConnectionError: the database cannot be reached, opened or logged in to.
            ConfigError: the URI has an option that this adapter does not know.
        """

    @classmethod
    @abstractmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        """Name the embedded database under `folder`, or None when this database needs a server."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection; a second call does nothing."""

    @abstractmethod
    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Make an empty collection that remembers `spec`, passport included.

        Raises:
            CollectionExistsError: it exists and `exist_ok` is false, or it exists with another dim, metric or analyzer.
            UnsupportedError: the dim, metric, index kind or analyzer is beyond this database.
            InvalidInputError: it has analyzers, but none of this name.
        """

    @abstractmethod
    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete a collection with all that is in it."""

    @abstractmethod
    def describe_collection(self, name: str) -> CollectionSpec:
        """Return the collection's shape and passport as the database reports them."""

    @abstractmethod
    def list_collections(self) -> list[str]:
        """Return the names of qvec's collections in this database, sorted."""

    @abstractmethod
    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        """Write documents; one with a known id is replaced, whole.

        Args:
            name: the collection.
            documents: ids differ within one call.
            vectors: ``(len(documents), dim)``, finite.
            passport: of the collection that the vectors were made for; None for whatever it is.

        Raises:
            PassportMismatchError: the collection has another passport, or another took its place during the call;
                nothing is written into that one, though the one that was meant may have got it.
            InvalidInputError: duplicate ids, a wrong shape, NaN, a text the database cannot hold.
            PartialWriteError: some documents were not written; it names them.
        """

    @abstractmethod
    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records by id; unknown ids are ignored."""

    @abstractmethod
    def refresh(self, name: str) -> None:
        """Return once earlier writes are searchable and durable; build an index that was put off."""

    @abstractmethod
    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Return records in the caller's order; unknown ids are skipped."""

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Return id -> stored vector of the records that are there; this one walks the collection, override it."""
        wanted = set(ids)
        return {
            document.id: vector
            for batch in self.scan(name, vectors=True)
            if batch.vectors is not None
            for document, vector in zip(batch.documents, batch.vectors, strict=True)
            if document.id in wanted
        }

    @abstractmethod
    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Return record id -> digest of every record whose `source` is among `sources`."""

    @abstractmethod
    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk all records, each once, in batches of at most `batch_size`, in constant memory, in no promised order."""

    @abstractmethod
    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Return how many records match."""

    @abstractmethod
    def search_dense(
        self,
        name: str,
        vectors: Vectors,
        *,
        k: int,
        filter: Filter | None = None,
        offset: int = 0,
        ef: int | None = None,
    ) -> list[list[Hit]]:
        """Return the nearest records of each query vector: best first, ties by id, scores larger-is-better.

        Args:
            name: the collection.
            vectors: ``(n, dim)`` queries.
            k: hits a query; fewer come back only when fewer records match.
            filter: applied before the cut to `k`.
            offset: hits to skip.
            ef: breadth of an approximate search (HNSW ef, IVF nprobe); None for the adapter's default.
        """

    @abstractmethod
    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Return the best records of each query by BM25 over the collection's words: best first, ties by id.

        The words are the tokens of `qvec.lexical`, or where the collection has an analyzer, what that makes of a text.
        Only records that share a word with the query are hits.

        Raises:
            UnsupportedError: `capabilities.lexical` is false.
        """


@runtime_checkable
class SupportsHybrid(Protocol):
    """An adapter that fuses both legs in the database, in one round trip; inherit from it beside `Adapter`."""

    @abstractmethod
    def search_hybrid(
        self,
        name: str,
        queries: Sequence[str],
        vectors: Vectors,
        *,
        how: FusionSpec,
        window: int,
        k: int,
        filter: Filter | None = None,
        offset: int = 0,
        ef: int | None = None,
    ) -> list[list[Hit]]:
        """Return what `qvec.fusion.fuse` makes of the legs' first hits: ranks, scores, contributions and relevance.

        Args:
            name: the collection.
            queries: texts for the lexical leg.
            vectors: ``(len(queries), dim)`` for the dense leg.
            how: the fusion.
            window: how many hits of each leg are fused.
            k: fused hits a query.
            filter: applied to both legs before their cut to `window`.
            offset: fused hits to skip.
            ef: as in `Adapter.search_dense`.
        """


@runtime_checkable
class SupportsExchange(Protocol):
    """An adapter that lets two collections trade names, so that one takes another's place; inherit from it."""

    @abstractmethod
    def exchange(self, one: str, other: str) -> None:
        """Give each of two collections the other's name, for all who read and write them.

        What each holds stays with it, shape and passport included; a second call undoes the first.

        Raises:
            CollectionNotFoundError: one of the two is not there; nothing is changed then.
        """

    @abstractmethod
    def exchange_steps(self, one: str, other: str) -> list[str]:
        """Write the statements or requests that `exchange` would send."""


@runtime_checkable
class SupportsCreateSteps(Protocol):
    """An adapter that tells what it sends to make a collection; inherit from it."""

    @abstractmethod
    def create_steps(self, spec: CollectionSpec) -> list[str]:
        """Write the statements or requests that `Adapter.create_collection` would send for one that is not there."""
