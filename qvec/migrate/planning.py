"""What a migration will cost: rows, tokens, hours at this machine's measured rate, bytes, and what will not fit."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qvec.documents import split_document
from qvec.embedder import Embedder
from qvec.errors import InvalidInputError
from qvec.migrate.fields import FieldMap
from qvec.migrate.opening import open_source
from qvec.migrate.source import Facts, Sampled, Source
from qvec.migrate.storage import MAX_HALFVEC_DIM, MAX_VECTOR_DIM, Storage, storage
from qvec.migrate.writing import Preparer
from qvec.registry import DEFAULT_MODEL, load_embedder
from qvec.sampling import reservoir
from qvec.types import Document

_SMALLEST_DIM = 32
_BATCH = 64

MAX_DIMS = {
    "pgvector (HNSW on vector)": MAX_VECTOR_DIM,
    "pgvector (HNSW on halfvec)": MAX_HALFVEC_DIM,
    "Elasticsearch": 4096,
}
MAX_TEXT = {"Milvus": 65_535}
"""Longest text, in bytes of UTF-8."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was read and measured, and what follows from it.

    Attributes:
        source: for people.
        facts: of a database: product, key, indexes, permissions ...
        rows: of the source.
        bad: rows without an id or a text, of those that were read.
        sampled: rows that lengths and tokens were measured on.
        characters: mean and longest text of the sample.
        tokens: of all rows, from the sample's mean.
        cut: share of the sample that is over the model's window and will be cut.
        tokens_per_second: measured here.
        hours: to embed all, of the `device`.
        cost: hours times the price given; None without one.
        storage: by dim.
        warnings: what will not fit, and what this user may not do.
        device: that the model runs on: ``cpu``, ``cuda`` ..., or ``server``.
        locks: what an attach takes of the source, and what waits for it or is refused.
        index: whose sizes `storage` has.
    """

    source: str
    model: str
    dim: int
    rows: int
    bad: int
    sampled: int
    characters: tuple[float, int]
    tokens: int
    cut: float
    rows_per_second: float
    tokens_per_second: float
    hours: float
    cost: float | None
    storage: list[Storage]
    warnings: list[str]
    facts: dict[str, object] = field(default_factory=dict)
    device: str = "cpu"
    locks: list[str] = field(default_factory=list)
    index: str = "pgvector"


def plan(
    source: str,
    *,
    table: str | None = None,
    schema: str | None = None,
    source_collection: str | None = None,
    layout: str | None = None,
    fields: FieldMap | None = None,
    model: str | None = None,
    dim: int | None = None,
    embedder: Embedder | None = None,
    price_per_hour: float | None = None,
    sample: int = 1000,
    seconds: float = 10.0,
    seed: int = 0,
) -> Plan:
    """Read a source, embed a sample of it, and say what all of it will cost. Nothing is written.

    Args:
        source: as `CopyJob.source`.
        table: of a SQL source.
        schema: of the table.
        source_collection: of a qvec source; or an Elasticsearch index or Milvus collection of another program.
        layout: as `CopyJob.layout`.
        fields: which columns become what.
        model: that is to make the vectors; None takes the default.
        dim: width to cut the model's vectors to.
        embedder: a model that is loaded already, instead of `model` and `dim`.
        price_per_hour: of the machine, in any money.
        sample: rows to measure on.
        seconds: how long to embed at most.
        seed: chooses the sample; a SQL database chooses by its own chance.

    Raises:
        InvalidInputError: the source has no row that can be embedded, or a column is not there.
        QvecError: as the source and the model say.
    """
    chosen = embedder or load_embedder(model or DEFAULT_MODEL, dim=dim)
    opened = open_source(
        source, fields or FieldMap(), table=table, schema=schema, collection=source_collection, layout=layout
    )
    try:
        documents, rows, bad = _read(opened, sample, random.Random(seed))
        facts = opened.facts()
        sizes = [storage(rows, width, facts.index_bytes) for width in _dims(chosen.dim)]
    finally:
        opened.close()
    if not documents:
        raise InvalidInputError(f"{opened.name} has no row that can be embedded: {rows} were read, {bad} of them bad")
    fits = Preparer(None, chosen.dim, chosen).fits
    cut = sum(not fits(document) for document in documents) / len(documents)
    parts = [part.searchable_text for document in documents for part in split_document(document, fits)]
    counts = chosen.count_tokens(parts)
    per_token = _seconds_per_token(chosen, parts, counts, seconds)
    tokens = round(sum(counts) / len(documents) * (rows - bad))
    lengths = [len(document.text) for document in documents]
    hours = tokens * per_token / 3600
    return Plan(
        source=opened.name,
        model=chosen.model_id,
        dim=chosen.dim,
        rows=rows,
        bad=bad,
        sampled=len(documents),
        characters=(sum(lengths) / len(lengths), max(lengths)),
        tokens=tokens,
        cut=cut,
        rows_per_second=len(documents) / (sum(counts) * per_token),
        tokens_per_second=1 / per_token,
        hours=hours,
        cost=None if price_per_hour is None else hours * price_per_hour,
        storage=sizes,
        warnings=_warnings(chosen.dim, documents, facts),
        facts=facts.told,
        device=_device(chosen),
        locks=facts.locks,
        index=str(facts.told["database"]) if facts.index_bytes else "pgvector",
    )


def _read(source: Source, size: int, chance: random.Random) -> tuple[list[Document], int, int]:
    """Sample documents; also the rows there are, and the bad ones among them."""
    if isinstance(source, Sampled):
        total = source.count() or 0
        documents: list[Document] = []
        rows = source.sample(size, chance)
        for row in rows:
            try:
                documents.append(source.fields.document(row))
            except InvalidInputError:
                continue
        bad = len(rows) - len(documents)
        return documents, total, round(bad / max(len(rows), 1) * total)
    read = bad = 0

    def good() -> Iterator[Document]:
        nonlocal read, bad
        for record in source.records():
            read += 1
            if record.document is None:
                bad += 1
            else:
                yield record.document

    return reservoir(good(), size, chance), read, bad


def _seconds_per_token(embedder: Embedder, texts: Sequence[str], counts: Sequence[int], seconds: float) -> float:
    # The first call loads and warms up; it is not measured.
    embedder.encode_document(texts[:2])
    started = time.perf_counter()
    tokens = 0
    for first in range(0, len(texts), _BATCH):
        embedder.encode_document(texts[first : first + _BATCH])
        tokens += sum(counts[first : first + _BATCH])
        if time.perf_counter() - started > seconds:
            break
    return (time.perf_counter() - started) / max(tokens, 1)


def _dims(full: int) -> list[int]:
    smaller = [2**power for power in range(5, 20) if _SMALLEST_DIM <= 2**power < full]
    return [*smaller, full]


def _warnings(dim: int, documents: Sequence[Document], facts: Facts) -> list[str]:
    found = [f"{name} takes {limit:,} dims, not {dim:,}" for name, limit in MAX_DIMS.items() if dim > limit]
    for name, limit in MAX_TEXT.items():
        share = sum(len(document.text.encode()) > limit for document in documents) / len(documents)
        if share:
            found.append(f"{share:.1%} of the texts are over {name}'s {limit:,} bytes and will be cut there")
    found += facts.faults
    allowed = facts.told.get("permissions")
    if isinstance(allowed, dict):
        found += [f"this user may not {right} here" for right, is_allowed in allowed.items() if not is_allowed]
    return found


def _device(embedder: Embedder) -> str:
    """Tell what is measured: a remote model has an address and no device of ours."""
    if ":http" in embedder.model_id or "@http" in embedder.model_id:
        return "server"
    return str(getattr(embedder, "device", "cpu")).split(":")[0]
