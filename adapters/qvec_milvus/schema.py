"""The Milvus collection behind a qvec collection."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qvec.errors import InvalidInputError
from qvec.lexical import K1, B, tokens
from qvec.specs import passport_mark, spec_from_form
from qvec.types import CollectionSpec, Document, Metric, Vectors
from qvec_milvus.analyzers import cutter
from qvec_milvus.connection import Connection, KeywordForm
from qvec_milvus.facts import ZERO_VECTOR, Facts, facts_of
from qvec_milvus.hashing import ARRAY
from qvec_milvus.keywords import words
from qvec_milvus.postings import counted, hashed

Row = dict[str, Any]

_write_json = json.JSONEncoder(ensure_ascii=False).encode

MARK = "qvec "
"""How the description of each of our collections starts, before its spec as JSON. Lite 3.2 keeps no description."""

PROPERTY = "qvec.spec"
"""The property that holds the same. Servers before 2.4 keep no properties of ours."""

MAX_BYTES = 65_535
"""The longest VARCHAR, in bytes of UTF-8, and the longest JSON."""

METRICS = {Metric.COSINE: "COSINE", Metric.DOT: "IP", Metric.L2: "L2"}
_INDEXES = {"flat": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT"}
HAS_ZERO_VECTOR = f"array_contains(facts, {ZERO_VECTOR})"
_LEXICAL_TEXT = 15_000
"""Keywords take up to 4.3 times the bytes of their text (a run such as ``a1b2c3``), and have the limit of 65,535."""

READ = ["id", "source", "digest", "text", "metadata"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What Milvus says of a collection of ours.

    Attributes:
        spec: its own.
        keywords: how its tokens are held.
        partition: that all its records are in, named after the passport: a server refuses a write that meets another
            collection under the name. Empty where there is none, as on Lite.
        own: the name that Milvus has for it, which an exchange does not change; empty while it is being made.
    """

    spec: CollectionSpec
    keywords: KeywordForm
    partition: str = ""
    own: str = ""


def create(connection: Connection, client: Any, spec: CollectionSpec) -> None:
    """Make a collection with its indexes, and have it loaded."""
    shape = shape_of(connection, spec)
    client.create_collection(
        spec.name,
        schema=schema(connection.driver, client, shape),
        properties={PROPERTY: written(shape)},
        consistency_level="Strong",
    )
    complete(connection, client, shape)
    connection.load(spec.name)


def shape_of(connection: Connection, spec: CollectionSpec) -> Shape:
    """Say how this Milvus is to hold a collection."""
    partition = "" if connection.is_lite else f"model_{passport_mark(spec.passport)}"
    return Shape(spec, connection.keywords, partition)


def wanted_indexes(connection: Connection, client: Any, shape: Shape) -> Any:
    """List the indexes of a collection."""
    kind = shape.spec.index.kind if shape.spec.index.kind != "auto" else connection.auto_kind
    return indexes(client, shape.spec, kind, shape.keywords, is_lite=connection.is_lite)


def complete(connection: Connection, client: Any, shape: Shape) -> None:
    """Make the partition and the indexes of a collection, unless it has them.

    Who makes one may have been killed before them, or be another process that is not done: Milvus lets both make them.
    """
    name = shape.spec.name
    if shape.partition and not client.has_partition(name, shape.partition):
        client.create_partition(name, shape.partition)
    wanted = wanted_indexes(connection, client, shape)
    if len(client.list_indexes(name)) < len(wanted):
        # sync would sleep half a second for each index; loading waits for them anyway.
        client.create_index(name, wanted, sync=False)


def max_text(keywords: KeywordForm) -> int:
    """Tell how many bytes a text may take where its keywords are held in this form."""
    return _LEXICAL_TEXT if keywords == "function" else MAX_BYTES


def schema(driver: Any, client: Any, shape: Shape) -> Any:
    """Describe the fields."""
    spec, keywords = shape.spec, shape.keywords
    kinds = driver.DataType
    found = client.create_schema(auto_id=False, enable_dynamic_field=False, description=MARK + written(shape))
    found.add_field("id", kinds.VARCHAR, is_primary=True, max_length=1024)
    found.add_field("source", kinds.VARCHAR, max_length=1024)
    found.add_field("digest", kinds.VARCHAR, max_length=1024)
    found.add_field("text", kinds.VARCHAR, max_length=MAX_BYTES)
    found.add_field("metadata", kinds.VARCHAR, max_length=MAX_BYTES)
    found.add_field("facts", kinds.ARRAY, element_type=kinds.INT64, max_capacity=ARRAY)
    found.add_field("values", kinds.JSON)
    found.add_field("vector", kinds.FLOAT_VECTOR, dim=spec.dim)
    if keywords != "function":
        found.add_field("words", kinds.VARCHAR, max_length=MAX_BYTES)
        found.add_field("length", kinds.INT64)
    else:
        found.add_field(
            "tokens",
            kinds.VARCHAR,
            max_length=MAX_BYTES,
            enable_analyzer=True,
            analyzer_params={"tokenizer": "standard"} if spec.analyzer is None else {"type": spec.analyzer},
        )
        found.add_field("keywords", kinds.SPARSE_FLOAT_VECTOR)
        found.add_function(
            driver.Function(
                name="bm25",
                function_type=driver.FunctionType.BM25,
                input_field_names=["tokens"],
                output_field_names=["keywords"],
            )
        )
    return found


def indexes(client: Any, spec: CollectionSpec, kind: str, keywords: KeywordForm, *, is_lite: bool) -> Any:
    """Describe the indexes."""

    def nested(given: dict[str, float]) -> dict[str, object]:
        # Lite 3.2 reads them as JSON under "params", where pymilvus 3.0 sends each by itself.
        return {"params": given} if is_lite and given else dict(given)

    found = client.prepare_index_params()
    settings: dict[str, float] = {}
    if kind == "hnsw":
        settings = {"M": spec.index.m, "efConstruction": spec.index.ef_construction}
    elif kind == "ivf":
        settings = {"nlist": spec.index.nlist or 128}
    found.add_index("vector", index_type=_INDEXES[kind], metric_type=METRICS[spec.metric], params=nested(settings))
    if keywords == "function":
        bm25 = {"bm25_k1": K1, "bm25_b": B}
        found.add_index("keywords", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=bm25)
    return found


def rows(documents: Sequence[Document], vectors: Vectors, shape: Shape) -> list[Row]:
    """Write documents as Milvus' rows, to which `add_keywords` adds what takes longest.

    Raises:
        InvalidInputError: something is longer than Milvus holds; nothing is cut.
    """
    points: list[bool] = np.any(vectors, axis=1).tolist()
    longest = max_text(shape.keywords)
    found = []
    for document, vector, is_point in zip(documents, vectors, points, strict=True):
        row = _row(document, vector, facts_of(document.id, document.metadata), longest)
        if not is_point:
            row["facts"].append(ZERO_VECTOR)
        if shape.keywords == "function" and len(document.searchable_text) * 4 > _LEXICAL_TEXT:
            _check_size(document, "keywords", _tokens(document, shape), MAX_BYTES)
        found.append(row)
    return found


def add_keywords(rows: Sequence[Row], documents: Sequence[Document], shape: Shape) -> None:
    """Add the keywords of documents to their rows."""
    for row, document in zip(rows, documents, strict=True):
        if shape.keywords == "function":
            row["tokens"] = Whole(_tokens(document, shape))
            continue
        frequencies = Counter(cutter(shape.spec.analyzer)(document.searchable_text))
        row["words"] = Whole(counted(frequencies))
        row["length"] = sum(frequencies.values())
        if shape.keywords == "terms":
            row["facts"] += hashed(frequencies, room=ARRAY - len(row["facts"]))


class Whole(str):
    """A string that pymilvus leaves alone: 3.0 checks each character of a row's string, as if it were an array's."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return iter(())


def _row(document: Document, vector: Vectors, facts: Facts, longest: int) -> Row:
    metadata, values = _write_json(document.metadata), _write_json(facts.values)
    _check_size(document, "text", document.text, longest)
    _check_size(document, "metadata", metadata, MAX_BYTES)
    _check_size(document, "metadata", values, MAX_BYTES)
    return {
        "id": Whole(document.id),
        "source": Whole(document.source),
        "digest": Whole(document.digest),
        "text": Whole(document.text),
        "metadata": Whole(metadata),
        "facts": list(facts.hashes),
        "values": values,
        "vector": vector,
    }


def _tokens(document: Document, shape: Shape) -> str:
    text = document.searchable_text
    return words(tokens(text)) if shape.spec.analyzer is None else text


def _check_size(document: Document, what: str, text: str, limit: int) -> None:
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise InvalidInputError(
            f"document {document.id!r}: its {what} takes {len(text.encode())} bytes; Milvus holds {limit}: chunk it"
        )


def document(row: Mapping[str, Any]) -> Document:
    """Make a document of the fields `READ`."""
    return Document(row["id"], row["text"], json.loads(row["metadata"]), row["source"], row["digest"])


def written(shape: Shape) -> str:
    """Write a shape as JSON."""
    more = {"keywords": shape.keywords, **({"partition": shape.partition} if shape.partition else {})}
    return json.dumps({**asdict(shape.spec), **more}, ensure_ascii=False)


def read(described: Mapping[str, Any]) -> Shape | None:
    """Read a shape from what Milvus says of a collection; None when it is not ours."""
    text = (described.get("properties") or {}).get(PROPERTY, "")
    description = str(described.get("description") or "")
    if not text and description.startswith(MARK):
        text = description.removeprefix(MARK)
    if not text:
        return None
    form = json.loads(text)
    return Shape(spec_from_form(form), form["keywords"], form.get("partition", ""), str(described["collection_name"]))


def matrix(page: Sequence[Mapping[str, Any]]) -> Vectors:
    """Gather the vectors of rows as ``(n, dim)``."""
    return np.array([row["vector"] for row in page], np.float32)
