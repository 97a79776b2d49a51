"""What the fields of an Elasticsearch index that another program made are to qvec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qvec.attaching import is_own_name
from qvec.layouts import FieldMap
from qvec.types import CollectionSpec, Document, Metric, Value, Vectors

ID = "_id"
"""What a form names as the id."""

_METRICS = {
    "cosine": Metric.COSINE,
    "dot_product": Metric.DOT,
    "max_inner_product": Metric.DOT,
    "l2_norm": Metric.L2,
}
_ANALYZED = {"text", "match_only_text", "search_as_you_type"}

Field = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ForeignIndex:
    """One collection of another program."""

    index: str
    form: FieldMap
    spec: CollectionSpec
    properties: Field

    @property
    def keywords(self) -> str:
        """The analyzed field that a keyword search asks; empty: there is none."""
        name = self.form.keywords or self.form.text
        field = field_of(self.properties, name.split(".")) or {}
        return name if field.get("type") in _ANALYZED and field.get("index", True) else ""

    @property
    def has_index(self) -> bool:
        """There is an index over the vectors."""
        field = field_of(self.properties, self.form.vector.split(".")) or {}
        return bool(field.get("index", True))

    def document(self, hit: Mapping[str, Any]) -> Document:
        """Make a document of a hit with its source."""
        form, content = self.form, hit["_source"]
        found = _at(content, form.metadata) if form.metadata else None
        metadata: dict[str, Value] = dict(found) if isinstance(found, Mapping) else {}
        if form.others:
            taken = {form.text, form.vector, form.metadata}
            metadata |= {key: value for key, value in content.items() if key not in taken and value is not None}
        source = metadata.get(form.source) if form.source else ""
        kept = {key: value for key, value in metadata.items() if key not in form.hidden and not is_own_name(key)}
        return Document(hit["_id"], _text(_at(content, form.text)), kept, source if isinstance(source, str) else "")

    def matrix(self, hits: Sequence[Mapping[str, Any]]) -> Vectors:
        """Gather the vectors of hits as ``(n, dim)``; a record without one has zeros."""
        rows = np.zeros((len(hits), self.spec.dim), np.float32)
        for row, hit in zip(rows, hits, strict=True):
            found = hit.get("fields", {}).get(self.form.vector)
            if found is not None:
                row[:] = found
        return rows


def described(form: FieldMap, index: str, name: str, properties: Field) -> ForeignIndex | None:
    """Read what an index's mapping says; None when it is not of this form."""
    if form.id != ID or form.owner is not None:
        return None
    wanted = {form.text, form.vector, form.metadata, form.keywords} - {""}
    if not all(field_of(properties, path.split(".")) for path in wanted):
        return None
    vector = field_of(properties, form.vector.split(".")) if form.vector else {}
    if vector and (vector.get("type") != "dense_vector" or vector.get("element_type", "float") != "float"):
        return None
    found = vector or {}
    metric = form.metric or _METRICS.get(found.get("similarity", ""), Metric.COSINE)
    spec = CollectionSpec(name, int(found.get("dims", 0)), metric, passport=form.passport)
    return ForeignIndex(index, form, spec, properties)


def field_of(properties: Field, path: Sequence[str]) -> Field | None:
    """Find a field of a mapping, or a field beneath one (``title.english``); those in nested documents are none."""
    found: Field = {"properties": properties}
    for key in path:
        inner = {**found.get("properties", {}), **found.get("fields", {})}.get(key)
        if inner is None or inner.get("type") == "nested":
            return None
        found = inner
    return found


def _at(content: Mapping[str, Any], path: str) -> object:
    found: object = content
    for key in [path] if path in content else path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    return "" if value is None else str(value)
