"""What a plan tells of a collection of another program, and its records field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qvec.errors import CollectionNotFoundError, InvalidInputError
from qvec.surveying import Bits, Row, SupportsSurvey, Survey
from qvec_milvus import twins
from qvec_milvus.connection import Connection
from qvec_milvus.filters import every_number
from qvec_milvus.foreign_fields import plain
from qvec_milvus.reading import Reader

_VECTORS = "_VECTOR"
_M = 16
_LABEL = 8
_LOCKS = (
    "collection: nothing is locked while its twin is filled; it is read and written all the while",
    "exchange: the name is without a collection for a request's time, where it was no alias; who asks then is refused",
    "afterwards: writes by the name go to the twin, and need a value for its vector (zeros will do)",
)


class Surveys(SupportsSurvey):
    """Reads collections of other programs as they are."""

    _connection: Connection

    def survey(self, index: str) -> Survey:
        """Ask for schema, indexes and count; Milvus tells of no rights before a request is refused."""
        said, kinds = self._described(index)
        with self._connection.use() as client:
            faults = twins.faults(client, index, said)
            told = [client.describe_index(index, name) for name in client.list_indexes(index)]
            client.load_collection(index)
        partitions = f", {said['num_partitions']} partitions" if said.get("num_partitions") else ""
        facts: dict[str, object] = {
            "database": f"Milvus {'Lite ' if self._connection.is_lite else ''}{self._connection.version}",
            "collection": f"{said['collection_name']}, {said.get('num_shards') or 1} shards{partitions}",
            "key": [_key(said)],
            "indexes": {each["field_name"]: [_index(each)] for each in told},
        }
        return Survey(
            rows=Reader(self._connection).count(index),
            key=_key(said),
            fields=tuple(kinds),
            facts=facts,
            locks=_LOCKS,
            faults=tuple(faults),
            is_open=bool(said.get("enable_dynamic_field")),
        )

    def read_index(self, index: str, *, size: int, vector: str = "") -> Iterator[list[Row]]:
        """Walk in the order of the keys, once what others wrote can be seen."""
        said, kinds = self._described(index)
        if vector and kinds.get(vector) != "FLOAT_VECTOR":
            raise InvalidInputError(f"the collection {index!r} has no field {vector!r} of float vectors")
        key = _key(said)
        fields = [name for name, kind in kinds.items() if not kind.endswith(_VECTORS) or name == vector]
        if said.get("enable_dynamic_field"):
            fields.append(twins.DYNAMIC)
        self._connection.wrote(index)
        with self._connection.use() as client:
            client.load_collection(index)
        everything = f'{key} != ""' if kinds[key] == "VARCHAR" else every_number(key)
        for page in Reader(self._connection).pages(index, everything, fields, size, key=key):
            yield [_row(row, vector) for row in page]

    def index_bytes(self, rows: int, dim: int, bits: Bits) -> int | None:
        """Add up what a node of hnswlib holds on the ground floor; Lite searches all vectors and has no index."""
        if self._connection.auto_kind == "flat" or bits != 32:
            return None
        return rows * (dim * 4 + 2 * _M * 4 + 4 + _LABEL)

    def _described(self, index: str) -> tuple[Mapping[str, Any], dict[str, str]]:
        with self._connection.use() as client:
            if not client.has_collection(index):
                raise CollectionNotFoundError(f"no collection {index!r} in Milvus at {self._connection.place}")
            said = client.describe_collection(index)
        fields = {field["name"]: field["type"].name for field in said["fields"]}
        return said, {name: kind for name, kind in fields.items() if name != twins.DYNAMIC}


def _key(said: Mapping[str, Any]) -> str:
    return next(str(field["name"]) for field in said["fields"] if field.get("is_primary"))


def _index(told: Mapping[str, Any]) -> str:
    return f"{told.get('index_type', '')} {told.get('metric_type', '')}".strip()


def _row(row: Mapping[str, Any], vector: str) -> Row:
    """Lay the fields that no schema names beside the others; Lite does so by itself."""
    found: Row = {name: value if name == vector else plain(value) for name, value in row.items()}
    inner = found.pop(twins.DYNAMIC, None)
    return {**inner, **found} if isinstance(inner, Mapping) else found
