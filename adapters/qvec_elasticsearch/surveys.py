"""What a plan tells of an index of another program, and its documents field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from qvec.errors import UnsupportedError
from qvec.surveying import Bits, Row, SupportsSurvey, Survey
from qvec_elasticsearch.attaching import found
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.foreign_fields import ID
from qvec_elasticsearch.reading import view

_RIGHTS = ("read", "write", "manage")
_AT_ONCE = 1000
_LARGEST_PAGE = 10_000
_M = 16
_BLOCKS = ("write", "read_only", "read_only_allow_delete", "metadata")
_LOCKS = (
    "mapping: one update of the cluster's state for two fields and a note; searches and writes go on",
    "documents: none is locked; an update that names the sequence number it was read at gives way to who wrote since",
    "refused instead: an attach into an index without _source, with a write block, or over more than one index",
)


class Surveys(SupportsSurvey):
    """Reads indexes of other programs as they are."""

    _connection: Connection

    def survey(self, index: str) -> Survey:
        """Ask for mapping, settings, counts and this user's rights."""
        name, mappings = found(self._connection, index)
        fields = dict(_fields(mappings.get("properties", {})))
        with self._connection.use() as client:
            rows = int(client.count(index=name)["count"])
            settings = client.indices.get_settings(index=name)[name]["settings"]["index"]
        blocks = [block for block in _BLOCKS if str(settings.get("blocks", {}).get(block)) == "true"]
        facts: dict[str, object] = {
            "database": f"Elasticsearch {self._connection.number}",
            "index": f"{name}, {settings['number_of_shards']} shards, {settings['number_of_replicas']} replicas",
            "key": [ID],
            "indexes": {path: [_kind(field)] for path, field in fields.items() if _is_searched(field)},
            "permissions": self._rights(name),
        }
        faults = [f"the index {name!r} has the block {block!r}, which refuses an attach" for block in blocks]
        if not mappings.get("_source", {}).get("enabled", True):
            faults.append(f"the index {name!r} keeps no _source, without which no document can be read or updated")
        # What an index does not map it may keep nevertheless, where it does not add each new field to its mapping.
        is_open = str(mappings.get("dynamic", "true")).lower() in {"false", "runtime"}
        return Survey(
            rows=rows,
            key=ID,
            fields=(ID, *fields),
            facts=facts,
            locks=_LOCKS,
            faults=tuple(faults),
            is_open=is_open,
        )

    def read_index(self, index: str, *, size: int, vector: str = "") -> Iterator[list[Row]]:
        """Read through a point in time."""
        name, vectors = self._readable(index)
        with self._connection.use() as client:
            # Who may only read does not mind what was written within the last second.
            client.options(ignore_status=403).indices.refresh(index=name)
        body = {"query": {"match_all": {}}, "sort": [{"_shard_doc": "asc"}], "size": min(size, _AT_ONCE)}
        asked = {"source_excludes": vectors, "fields": [{"field": vector}] if vector else None}
        for hits in view(self._connection, name, index, {**body, **asked}):
            yield [_row(hit, vector) for hit in hits]

    def sample_index(self, index: str, *, size: int, chance: Random) -> list[Row]:
        """Let Elasticsearch choose."""
        name, vectors = self._readable(index)
        seeded = {"seed": chance.randrange(2**31), "field": "_seq_no"}
        query = {"function_score": {"query": {"match_all": {}}, "random_score": seeded, "boost_mode": "replace"}}
        with self._connection.use() as client:
            answer = client.search(
                index=name, query=query, size=min(size, _LARGEST_PAGE), source_excludes=vectors, track_total_hits=False
            )
        return [_row(hit, "") for hit in answer["hits"]["hits"]]

    def index_bytes(self, rows: int, dim: int, bits: Bits) -> int | None:
        """Add the graph to what HNSW holds of a vector beside the vector itself; Elasticsearch's own sizing rules."""
        beside = {32: 0, 8: dim + 4, 1: -(-dim // 8) + 14}.get(bits)
        return None if beside is None else rows * (beside + 4 * _M)

    def _readable(self, index: str) -> tuple[str, list[str]]:
        """Find the one index behind a name, and its fields of vectors."""
        name, mappings = found(self._connection, index)
        if not mappings.get("_source", {}).get("enabled", True):
            raise UnsupportedError(f"the index {name!r} keeps no _source: there is nothing to read in it")
        fields = _fields(mappings.get("properties", {}))
        return name, [path for path, field in fields if str(field.get("type", "")).endswith("_vector")]

    def _rights(self, name: str) -> dict[str, bool]:
        asked = [{"names": [name], "privileges": [*_RIGHTS]}]
        with self._connection.use() as client:
            # Without security there is no such request, and everybody may do everything.
            answer = client.options(ignore_status=(400, 404, 405, 500)).security.has_privileges(index=asked)
        if answer.meta.status != 200:
            return dict.fromkeys(_RIGHTS, True)
        return {right: bool(answer["index"][name][right]) for right in _RIGHTS}


def _fields(properties: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, field in properties.items():
        yield f"{above}{name}", field
        yield from _fields(field.get("properties", {}), f"{above}{name}.")


def _kind(field: Mapping[str, Any]) -> str:
    kind = str(field["type"])
    if kind != "dense_vector":
        return kind
    how = field.get("index_options", {}).get("type", "none")
    return f"{kind} {field.get('dims', '?')} {field.get('similarity', '')} {how}".replace("  ", " ")


def _is_searched(field: Mapping[str, Any]) -> bool:
    return "properties" not in field and bool(field.get("index", True))


def _row(hit: Mapping[str, Any], vector: str) -> Row:
    row: Row = {ID: hit["_id"], **hit["_source"]}
    if vector:
        row[vector] = hit.get("fields", {}).get(vector)
    return row
