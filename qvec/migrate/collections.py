"""Documents and vectors from a collection in any database that qvec knows."""

from __future__ import annotations

from collections.abc import Iterator

from qvec.adapter import Adapter
from qvec.migrate.source import Facts, Position, Record, Source


class CollectionSource(Source):
    """A collection, read in the order that its database gives; it cannot be asked to go on from a place.

    Args:
        adapter: the connection, which this object then owns.
        collection: its name.
        address: the database, without secrets.
    """

    def __init__(self, adapter: Adapter, collection: str, address: str) -> None:
        self.name = collection
        self.adapter = adapter
        self.spec = adapter.describe_collection(collection)
        self.fingerprint = f"{address} {collection}"

    def count(self) -> int | None:
        """Ask the database."""
        return self.adapter.count(self.name)

    def records(self, after: Position = None) -> Iterator[Record]:
        """Walk the collection with its vectors."""
        for batch in self.adapter.scan(self.name, vectors=True):
            assert batch.vectors is not None
            for document, vector in zip(batch.documents, batch.vectors, strict=True):
                yield Record(f"{self.name}[{document.id}]", None, document, vector=vector)

    def facts(self) -> Facts:
        """Say whose vectors it has."""
        passport = self.spec.passport
        made = f"{passport.model_id}, " if passport else ""
        vectors = f"{made}{self.spec.dim} dimensions, {self.spec.metric}"
        return Facts({"database": self.adapter.capabilities.database, "key": ["id"], "vectors": vectors})

    def close(self) -> None:
        """Close the connection."""
        self.adapter.close()
