"""What the themes of the suite share: the connection, fresh collections, and ways to fill and read them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.filters import Filter
from qvec.registry import open_adapter
from qvec.testing.corpus import CORPUS, DIM, vectors_for
from qvec.types import CollectionSpec, Document, Hit, IndexKind, IndexSpec, Metric, Vectors


class Connection:
    """One open adapter that a test may close and open again; never two at once on a database that lasts."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.adapter: Adapter = open_adapter(uri)

    def reopen(self) -> Adapter:
        """Close the connection and open another to the same database."""
        self.adapter.close()
        self.adapter = open_adapter(self.uri)
        return self.adapter


class SuiteBase:
    """The fixtures. Set `uri`, or override the class-scoped fixture `adapter_uri` where it must be made first."""

    uri: ClassVar[str] = ""

    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls) -> str:
        """Name the database; override it as a classmethod fixture of class scope to make a folder or a server first."""
        if not cls.uri:
            pytest.fail(f"{cls.__name__} names no database: set uri = 'scheme://...' or override adapter_uri")
        return cls.uri

    @pytest.fixture(scope="class")
    @classmethod
    def connection(cls, adapter_uri: str) -> Iterator[Connection]:
        """Keep one connection open for all tests of the class."""
        held = Connection(adapter_uri)
        yield held
        held.adapter.close()

    @pytest.fixture
    def adapter(self, connection: Connection) -> Adapter:
        """Hand out the open adapter."""
        return connection.adapter

    @pytest.fixture(scope="class")
    @classmethod
    def corpus(cls, connection: Connection) -> Iterator[str]:
        """Keep the shared corpus in one collection for all tests of keywords that only read."""
        need_lexical(connection.adapter)
        name = fresh_name()
        make(connection.adapter, name)
        fill(connection.adapter, name, CORPUS)
        yield name
        connection.adapter.drop_collection(name, missing_ok=True)

    @pytest.fixture
    def name(self, connection: Connection) -> Iterator[str]:
        """Name a collection that is not there yet; drop it when the test is over."""
        fresh = fresh_name()
        yield fresh
        connection.adapter.drop_collection(fresh, missing_ok=True)


def fresh_name() -> str:
    """Make up a collection's name that no earlier run can have left behind."""
    return f"suite_{uuid.uuid4().hex[:16]}"


def make(
    adapter: Adapter, name: str, *, dim: int = DIM, metric: Metric = Metric.COSINE, kind: IndexKind = "auto"
) -> CollectionSpec:
    """Create a collection."""
    spec = CollectionSpec(name, dim, metric, IndexSpec(kind))
    adapter.create_collection(spec)
    return spec


def fill(adapter: Adapter, name: str, documents: Sequence[Document], vectors: Vectors | None = None) -> Vectors:
    """Write documents and wait until they are searchable; without vectors they get `vectors_for` their ids."""
    rows = vectors_for(documents) if vectors is None else vectors
    adapter.upsert(name, documents, rows)
    adapter.refresh(name)
    return rows


def ids_of(hits: Sequence[Hit]) -> list[str]:
    """List the ids of hits."""
    return [hit.id for hit in hits]


def scan_all(adapter: Adapter, name: str, *, filter: Filter | None = None, batch_size: int = 1000) -> list[Document]:
    """Read a collection from one end to the other."""
    batches = adapter.scan(name, filter=filter, batch_size=batch_size)
    return [document for batch in batches for document in batch.documents]


def in_order(hits: Sequence[Hit]) -> bool:
    """Tell whether hits stand by score, ties by id."""
    return list(hits) == sorted(hits, key=lambda hit: (-hit.score, hit.id))


def need_metric(adapter: Adapter, metric: Metric) -> None:
    """Skip where the adapter declares that it does not take the metric."""
    if metric not in adapter.capabilities.metrics:
        pytest.skip(f"declares no {metric} in its capabilities")


def need_lexical(adapter: Adapter) -> None:
    """Skip where the adapter declares that it has no keyword leg."""
    if not adapter.capabilities.lexical:
        pytest.skip("declares no keyword leg in its capabilities")


def exact_scores(metric: Metric, stored: Vectors, query: Vectors) -> list[float]:
    """Compute the scores of the rows of `stored` for one query, in float64."""
    rows, wanted = stored.astype(np.float64), query.astype(np.float64)
    if metric is Metric.L2:
        return [-float(np.linalg.norm(row - wanted)) for row in rows]
    products = [float(row @ wanted) for row in rows]
    if metric is Metric.DOT:
        return products
    lengths = [float(np.linalg.norm(row) * np.linalg.norm(wanted)) for row in rows]
    return [product / length if length else 0.0 for product, length in zip(products, lengths, strict=True)]
