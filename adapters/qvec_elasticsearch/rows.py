"""Documents as Elasticsearch's, and back."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from qvec.lexical import tokens
from qvec.types import CollectionSpec, Document, Metric, Vectors
from qvec_elasticsearch.facts import facts_of
from qvec_elasticsearch.filters import Query

READ = ["source", "digest", "text", "metadata"]
_RECORD = "record"
EVERY_RECORD: Query = {"term": {"facts": _RECORD}}
"""Matches all by a term; a fact is a hash of 16 characters."""

_LONGEST = 200
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def operations(
    documents: Sequence[Document], vectors: Vectors, spec: CollectionSpec, *, mark: str | None, as_base64: bool
) -> Iterator[tuple[str, bytes]]:
    """Write documents as the lines of a bulk request, each with its id, and with `mark` where one is given."""
    for document, vector in zip(documents, vectors, strict=True):
        row = _row(document)
        if mark is not None:
            row["model"] = {mark: True}
        row |= _words(document) if spec.analyzer is None else {"tokens": document.searchable_text}
        if spec.metric is Metric.COSINE and not vector.any():
            # Elasticsearch refuses a vector of zeros where the similarity is the cosine.
            row["zero"] = True
        else:
            row["vector"] = base64.b64encode(vector.astype(">f4")).decode() if as_base64 else vector
        action = orjson.dumps({"index": {"_id": document.id}})
        yield document.id, b"%b\n%b" % (action, orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY))


def deletions(ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Write the lines of a bulk request that deletes."""
    for identity in ids:
        yield identity, orjson.dumps({"delete": {"_id": identity}})


def word(token: str) -> str:
    """Write a token so that the analyzer takes it whole, and Lucene as a term: long ones as a hash."""
    if len(token) <= _LONGEST:
        return token
    return f"={hashlib.blake2b(token.encode(), digest_size=20).hexdigest()}"


def document(hit: Mapping[str, Any]) -> Document:
    """Make a document of a hit with the fields `READ`."""
    found = hit["_source"]
    return Document(hit["_id"], found["text"], json.loads(found["metadata"]), found["source"], found["digest"])


def matrix(hits: Sequence[Mapping[str, Any]], dim: int) -> Vectors:
    """Gather the vectors of hits as ``(n, dim)``."""
    rows = np.zeros((len(hits), dim), np.float32)
    for row, hit in zip(rows, hits, strict=True):
        found = hit.get("fields", {}).get("vector")
        if found is not None:
            row[:] = found
    return rows


def _row(document: Document) -> dict[str, object]:
    facts = facts_of(document.metadata)
    return {
        "id": document.id,
        "source": document.source,
        "digest": document.digest,
        "text": document.text,
        "metadata": _JSON.encode(document.metadata),
        "facts": sorted({_RECORD, *facts.hashes}),
        "order": sorted(facts.ordered),
    }


def _words(document: Document) -> dict[str, object]:
    words = [word(token) for token in tokens(document.searchable_text)]
    return {"tokens": " ".join(words), "length": len(words)}
