"""The values that cross the seam between the core and the adapters: frozen, slotted, without behaviour of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""A C-contiguous float32 array of shape ``(n, dim)``."""

Vector: TypeAlias = NDArray[np.float32]
"""One row of `Vectors`, of shape ``(dim,)``."""

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | Sequence["Value"] | Mapping[str, "Value"] | None
"""What metadata may hold: JSON, without NaN and infinities."""

IndexKind: TypeAlias = Literal["auto", "flat", "hnsw", "ivf"]
LegName: TypeAlias = Literal["dense", "lexical"]

TITLE = "title"
"""The metadata key whose string is embedded and searched by keyword together with the text."""


class Metric(StrEnum):
    """How two vectors are compared; scores are always larger-is-better."""

    COSINE = "cosine"
    DOT = "dot"
    L2 = "l2"


@dataclass(frozen=True, slots=True)
class Document:
    """One record: a text with an id and metadata.

    Attributes:
        id: unique in its collection; 1 to 512 bytes of UTF-8 without NUL.
        text: what is shown, embedded and searched by keyword.
        metadata: JSON values to filter on and to hand back; ``metadata["title"]`` is searched with the text.
        source: id of the document that this record is a chunk of; its own id when it was not cut.
        digest: hash of what was indexed, written by the pipeline, so that a later run skips what is unchanged.
    """

    id: str
    text: str
    metadata: Mapping[str, Value] = field(default_factory=dict)
    source: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.source:
            object.__setattr__(self, "source", self.id)

    @property
    def searchable_text(self) -> str:
        """The title, when there is one, above the text: what is embedded and what keywords are taken from."""
        title = self.metadata.get(TITLE)
        return f"{title}\n{self.text}" if isinstance(title, str) and title else self.text


@dataclass(frozen=True, slots=True)
class Leg:
    """Where one leg of a search, or the reranking behind it, ranked a hit.

    Attributes:
        name: ``"dense"``, ``"lexical"`` or ``"rerank"``.
        rank: from 1.
        score: the leg's own score: similarity (dense), BM25 (lexical) or relevance (rerank; 0 when it was not scored).
        contribution: what the leg added to the fused score.
        note: what there is to say besides: a document that was cut, or why it was not scored.
        weight: the leg's factor in the fusion.
    """

    name: LegName | Literal["rerank"]
    rank: int
    score: float
    contribution: float = 0.0
    note: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search.

    Attributes:
        document: what was found.
        score: larger is better; its scale depends on the mode and the fusion.
        legs: where each leg ranked it, as far as the leg was read.
        relevance: the score between 0 and 1, so that one bar fits all queries; `Collection.search` has the formula.
        chunks: how many hits of one source it stands for, where hits were grouped.
    """

    document: Document
    score: float
    legs: tuple[Leg, ...] = ()
    relevance: float = 0.0
    chunks: int = 1

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def text(self) -> str:
        return self.document.text

    @property
    def metadata(self) -> Mapping[str, Value]:
        return self.document.metadata


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """The vector index to build.

    Attributes:
        kind: ``"auto"`` lets the adapter choose (HNSW where it can, exact search while a collection is small).
        m: HNSW links a node.
        ef_construction: HNSW breadth while building.
        nlist: number of IVF cells; None derives it from the collection's size.
    """

    kind: IndexKind = "auto"
    m: int = 16
    ef_construction: int = 100
    nlist: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passport:
    """Who made a collection's vectors and tokens; stored in the database and compared at every open.

    Attributes:
        model_id: the name to load the model by.
        revision: fingerprint of the weights; two names with one revision are one model.
        dim: of the vectors, after the cut.
        pooling: ``"last"``, ``"mean"``, ``"cls"`` ...
        prompt_digest: hash of the query and document templates.
        normalized: rows have unit length.
        chunker: name and version of what cut the documents.
        lexical_version: version of the keyword tokens.
        long_text: what becomes of documents over the model's window; empty: ``"chunk"``.
    """

    model_id: str
    revision: str
    dim: int
    pooling: str
    prompt_digest: str
    normalized: bool = True
    chunker: str = ""
    lexical_version: str = ""
    long_text: str = ""


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """A collection's name and shape, as asked for or as the server reports it.

    Attributes:
        name: within its database.
        dim: of the vectors.
        metric: how they compare.
        index: over the vectors.
        passport: who made them; None where nobody said.
        analyzer: the database's own that cuts texts and queries into words; None for the tokens of `qvec.lexical`.
    """

    name: str
    dim: int
    metric: Metric = Metric.COSINE
    index: IndexSpec = IndexSpec()
    passport: Passport | None = None
    analyzer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one connection can do; it depends on the server's version, not only on the adapter.

    Attributes:
        database: product and version, for people.
        embedded: runs in or beside this process, from a file or folder.
        persistent: survives the process.
        metrics: the metrics that it takes.
        index_kinds: the index kinds that it builds, without ``"auto"``.
        max_dim: widest vector that can be indexed; None: no limit.
        max_text_bytes: longest text in UTF-8 bytes; None: no limit that matters.
        lexical: has a keyword leg.
        analyzers: names of the database's own that a collection may take; the server may know more. Empty: it has none.
        write_batch: how many documents an ``upsert`` call takes best.
    """

    database: str
    embedded: bool
    persistent: bool
    metrics: frozenset[Metric] = frozenset(Metric)
    index_kinds: tuple[IndexKind, ...] = ("flat",)
    max_dim: int | None = None
    max_text_bytes: int | None = None
    lexical: bool = True
    analyzers: tuple[str, ...] = ()
    write_batch: int = 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of documents from ``scan``, with their vectors ``(n, dim)`` when these were asked for."""

    documents: list[Document]
    vectors: Vectors | None = None
