"""The Elasticsearch index behind a collection: its name, its mapping, and the spec that it carries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from elasticsearch import BadRequestError, Elasticsearch

from qvec.errors import CollectionExistsError, InvalidInputError
from qvec.specs import passport_mark, spec_from_form, spec_to_json
from qvec.types import Capabilities, CollectionSpec, Metric
from qvec_elasticsearch.connection import Connection, Version
from qvec_elasticsearch.errors import ours

PREFIX = "qvec_"
MAX_DIM = 4096
SIMILARITIES = {Metric.COSINE: "cosine", Metric.DOT: "max_inner_product", Metric.L2: "l2_norm"}
BASE64_SINCE: Version = (9, 3)
"""From when a vector may be written as base64, a third of its digits and ten times as fast to read."""

RESTORE = "qvec_restore"
"""The part of ``_meta`` with the settings from before a load."""

_BBQ_SINCE: Version = (8, 18)
_BBQ_FROM_DIM = 384
_INT8_FROM_DIM = 64
"""Below, quantising saves little memory and loses neighbours."""

_MAX_TOKEN = 1024

_LANGUAGES = (
    "arabic armenian basque bengali brazilian bulgarian catalan cjk czech danish dutch english estonian finnish french "
    "galician german greek hindi hungarian indonesian irish italian latvian lithuanian norwegian persian portuguese "
    "romanian russian sorani spanish swedish thai turkish"
)
ANALYZERS = (*_LANGUAGES.split(), "simple", "standard", "stop", "whitespace")
"""What every server has; it takes those of its plugins as well, and says itself which it has not."""

_SHORT_NAMES = {"icu": "icu_analyzer"}


def alias_of(name: str) -> str:
    """Name a collection's alias; index names have no capitals, so ``A`` is written ``-a``."""
    return PREFIX + re.sub("[A-Z]", lambda match: f"-{match[0].lower()}", name)


def name_of(alias: str) -> str:
    """Read a collection's name back."""
    return re.sub("-([a-z])", lambda match: match[1].upper(), alias.removeprefix(PREFIX))


def capabilities(number: str) -> Capabilities:
    """Declare what an Elasticsearch of a version can do."""
    return Capabilities(
        database=f"Elasticsearch {number}".strip(),
        embedded=False,
        persistent=True,
        index_kinds=("flat", "hnsw"),
        max_dim=MAX_DIM,
        analyzers=ANALYZERS,
        write_batch=1024,
    )


def create(connection: Connection, client: Elasticsearch, spec: CollectionSpec) -> None:
    """Make an index and, in the same step, the alias that everything goes through.

    The alias lets a bulk write demand it (``require_alias``): written to a bare index that was dropped meanwhile, it
    would make a new one with guessed types. It also lets another index take a collection's place in one step.
    """
    client.indices.create(index=_free_index(client, alias_of(spec.name)), **_body(connection, spec))


def creation(connection: Connection, client: Elasticsearch, spec: CollectionSpec) -> str:
    """Write the request that `create` sends."""
    return f"PUT /{_free_index(client, alias_of(spec.name))} {json.dumps(_body(connection, spec))}"


def _body(connection: Connection, spec: CollectionSpec) -> dict[str, Any]:
    return {
        "aliases": {alias_of(spec.name): {}},
        "settings": _settings(connection),
        "mappings": _mapping(spec, connection.version),
    }


def _free_index(client: Elasticsearch, alias: str) -> str:
    """Name an index for an alias: the first, unless one of that name has taken another collection's place."""
    numbers = count(1)
    while True:
        index = f"{alias}-{next(numbers):06d}"
        answer = client.options(ignore_status=404).indices.get_alias(index=index)
        if answer.meta.status == 404 or alias in answer.body[index]["aliases"]:
            return index


def exchange_actions(one: str, first: str, other: str, second: str) -> list[dict[str, dict[str, object]]]:
    """Write the alias actions with which two collections trade names, `first` being the index of `one`."""
    pairs = ((first, one, other), (second, other, one))
    taken: list[dict[str, dict[str, object]]] = [
        {"remove": {"index": index, "alias": alias_of(was), "must_exist": True}} for index, was, _ in pairs
    ]
    given: list[dict[str, dict[str, object]]] = [
        {"add": {"index": index, "alias": alias_of(to)}} for index, _, to in pairs
    ]
    return [*taken, *given]


@dataclass(frozen=True, slots=True)
class Index:
    """An index of ours.

    Attributes:
        name: its own, behind the alias.
        spec: the collection's.
        meta: all that its mapping carries.
        mark: what stands in each record that was written for this passport alone.
    """

    name: str
    spec: CollectionSpec
    meta: Mapping[str, Any]
    mark: str

    @property
    def restore(self) -> Mapping[str, Any]:
        """The settings from before a load, while they are others."""
        found: Mapping[str, Any] = self.meta.get(RESTORE, {})
        return found


def check_analyzer(connection: Connection, client: Elasticsearch, analyzer: str) -> None:
    """Ask the server whether it has an analyzer.

    Raises:
        InvalidInputError: it has not.
    """
    try:
        client.indices.analyze(analyzer=_SHORT_NAMES.get(analyzer, analyzer), text="")
    except BadRequestError as exc:
        raise InvalidInputError(
            f"Elasticsearch at {connection.place} has no analyzer {analyzer!r} ({ours(exc, connection.place)}). It has "
            f"{', '.join(ANALYZERS)}; smartcn and icu come with the plugins analysis-smartcn and analysis-icu "
            "(bin/elasticsearch-plugin install)"
        ) from exc


def find(client: Elasticsearch, name: str) -> Index | None:
    """Look up a collection's index; None when it is not there.

    Raises:
        CollectionExistsError: there is such an index, but it is not qvec's.
    """
    answer = client.options(ignore_status=404).indices.get_mapping(index=alias_of(name))
    if answer.meta.status == 404 or not answer.body:
        return None
    index, described = next(iter(answer.body.items()))
    spec = _spec(described["mappings"])
    if spec is None or len(answer.body) > 1 or index == alias_of(name):
        raise CollectionExistsError(f"Elasticsearch holds an index {index!r} that is not qvec's: take another name")
    mappings = described["mappings"]
    marks = mappings["properties"].get("model", {}).get("properties") or [passport_mark(spec.passport)]
    # The mapping knows the name that the index was made for.
    return Index(index, replace(spec, name=name), mappings["_meta"], next(iter(marks)))


def names(client: Elasticsearch) -> list[str]:
    """List the collections."""
    answer: Mapping[str, Any] = client.indices.get(index=f"{PREFIX}*", features=["aliases", "mappings"]).body
    return sorted(
        name_of(alias)
        for index in answer.values()
        if _spec(index["mappings"]) is not None
        for alias in index["aliases"]
        if alias.startswith(PREFIX)
    )


def _spec(mappings: Mapping[str, Any]) -> CollectionSpec | None:
    form = mappings.get("_meta", {}).get("qvec")
    return spec_from_form(form) if form else None


def _settings(connection: Connection) -> dict[str, object]:
    copies: dict[str, object] = {"auto_expand_replicas": "0-1"}
    if connection.replicas is not None:
        copies = {"number_of_replicas": connection.replicas}
    return {
        "number_of_shards": connection.shards,
        **copies,
        "analysis": {
            "analyzer": {"qvec": {"type": "custom", "tokenizer": "qvec"}},
            "tokenizer": {"qvec": {"type": "whitespace", "max_token_length": _MAX_TOKEN}},
        },
        "similarity": {"frequency": {"type": "scripted", "script": {"source": "return doc.freq;"}}},
    }


def _mapping(spec: CollectionSpec, version: Version) -> dict[str, object]:
    kept = {"type": "keyword", "index": False, "doc_values": False}
    asked = {"type": "keyword", "doc_values": False}
    unread = {"type": "boolean", "index": False, "doc_values": False}
    return {
        "dynamic": False,
        "_meta": {"qvec": json.loads(spec_to_json(spec))},
        "properties": {
            "id": {"type": "keyword"},
            "source": asked,
            "digest": kept,
            "text": {"type": "text", "index": False},
            "metadata": kept,
            "facts": asked,
            "order": asked,
            "tokens": _tokens(spec.analyzer),
            "length": {"type": "integer", "index": False},
            "zero": {"type": "boolean", "doc_values": False},
            # An alias may move to another model's index before a record arrives: with this model's mark the record is
            # refused there, by what every Elasticsearch has (`constant_keyword` is in an extension).
            "model": {"type": "object", "dynamic": "strict", "properties": {passport_mark(spec.passport): unread}},
            "vector": _vector(spec, version),
        },
    }


def _tokens(analyzer: str | None) -> dict[str, object]:
    field: dict[str, object] = {"type": "text", "index_options": "freqs"}
    if analyzer is not None:
        return {**field, "analyzer": _SHORT_NAMES.get(analyzer, analyzer)}
    return {**field, "analyzer": "qvec", "similarity": "frequency", "norms": False}


def _vector(spec: CollectionSpec, version: Version) -> dict[str, object]:
    field: dict[str, object] = {"type": "dense_vector", "dims": spec.dim}
    if spec.index.kind == "flat":
        return {**field, "index": False}
    options = {
        "type": quantisation(spec.dim, version),
        "m": spec.index.m,
        "ef_construction": spec.index.ef_construction,
    }
    return {**field, "index": True, "similarity": SIMILARITIES[spec.metric], "index_options": options}


def quantisation(dim: int, version: Version) -> str:
    """Choose how HNSW holds vectors: a bit for each number of a wide one, a byte of others, all of narrow ones."""
    if dim >= _BBQ_FROM_DIM and version >= _BBQ_SINCE:
        return "bbq_hnsw"
    return "int8_hnsw" if dim >= _INT8_FROM_DIM else "hnsw"
