"""What the fields of a Milvus collection that another program made are to qvec."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qvec.layouts import FieldMap
from qvec.types import CollectionSpec, Document, Metric, Value
from qvec_milvus.filters import every_number, literal

_METRICS = {"COSINE": Metric.COSINE, "IP": Metric.DOT, "L2": Metric.L2}
_PLAIN = {"BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "VARCHAR", "JSON", "ARRAY"}
_DYNAMIC = "$meta"
_LOWEST = -(2**63)


@dataclass(frozen=True, slots=True)
class ForeignCollection:
    """One collection of another program."""

    table: str
    form: FieldMap
    spec: CollectionSpec
    metric_type: str
    index: str
    fields: list[str]
    has_number_ids: bool

    @property
    def everything(self) -> str:
        """An expression that is true of every record."""
        return every_number(self.form.id) if self.has_number_ids else f'{self.form.id} != ""'

    def among(self, ids: Sequence[str]) -> str:
        """Write that a record has one of these ids; empty when none can be one."""
        known = [id for id in ids if _is_number(id)] if self.has_number_ids else [literal(id) for id in ids]
        return f"{self.form.id} in [{', '.join(known)}]" if known else ""

    def document(self, row: Mapping[str, Any]) -> Document:
        """Make a document of a row with `fields`."""
        form = self.form
        metadata: dict[str, Value] = dict(_object(row.get(form.metadata))) if form.metadata else {}
        if form.others:
            metadata |= _object(row.get(_DYNAMIC))
            taken = {form.id, form.text, form.vector, form.metadata, _DYNAMIC}
            metadata |= {key: plain(value) for key, value in row.items() if key not in taken and value is not None}
        source = metadata.get(form.source) if form.source else ""
        kept = {key: value for key, value in metadata.items() if key not in form.hidden}
        return Document(str(row[form.id]), row.get(form.text) or "", kept, source if isinstance(source, str) else "")


def describe(client: Any, form: FieldMap, table: str) -> ForeignCollection | None:
    """Read what Milvus says of a collection; None when it is not of this form."""
    said = client.describe_collection(table)
    fields = {field["name"]: field for field in said["fields"]}
    if not form.vector or not form.needed <= fields.keys() or fields[form.vector]["type"].name != "FLOAT_VECTOR":
        return None
    index: dict[str, Any] = next(
        (
            found
            for found in (client.describe_index(table, name) for name in client.list_indexes(table))
            if found["field_name"] == form.vector
        ),
        {},
    )
    metric_type = str(index.get("metric_type") or "COSINE")
    others = [name for name, field in fields.items() if form.others and field["type"].name in _PLAIN]
    read = list(dict.fromkeys([form.id, form.text, *([form.metadata] if form.metadata else []), *others]))
    if form.others and said.get("enable_dynamic_field"):
        read.append(_DYNAMIC)
    return ForeignCollection(
        table,
        form,
        CollectionSpec(
            str(form.name_of(table)),
            int(fields[form.vector]["params"]["dim"]),
            _METRICS.get(metric_type, Metric.COSINE),
            passport=form.passport,
        ),
        metric_type,
        str(index.get("index_type", "")),
        read,
        fields[form.id]["type"].name != "VARCHAR",
    )


def _object(value: object) -> Mapping[str, Value]:
    found = json.loads(value) if isinstance(value, str | bytes) else value
    return found if isinstance(found, Mapping) else {}


def plain(value: Any) -> Value:
    """Read Milvus' arrays, which come as gRPC's own lists, and JSON fields, which come as bytes from old servers."""
    found: Value = json.loads(value) if isinstance(value, bytes) else value
    return found if isinstance(found, str | int | float | Mapping) or found is None else list(found)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and str(int(text)) == text and _LOWEST <= int(text) < -_LOWEST
