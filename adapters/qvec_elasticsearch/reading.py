"""Reading records: by id, in pages, and the answers of several searches in one request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from qvec.errors import QvecError
from qvec.types import Batch, CollectionSpec, Document, Vector
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.errors import fault
from qvec_elasticsearch.filters import Query, among
from qvec_elasticsearch.rows import READ, document, matrix
from qvec_elasticsearch.schema import alias_of

Answer: TypeAlias = Mapping[str, Any]
_SEARCHES_AT_ONCE = 50
_MAX_BYTES = 8 * 2**20
_IDS_AT_ONCE = 1000
_MAX_PAGE = 10_000
_PAGE_NUMBERS = 2_000_000
"""Numbers of all vectors in a page: about 25 MB of JSON."""

_KEEP = "5m"


def ask(connection: Connection, name: str, bodies: Sequence[Query]) -> list[Answer]:
    """Send searches together; each answer stands where its search did."""
    answers = answers_of(connection, name, bodies)
    for answer in answers:
        if "error" in answer:
            raise fault(answer["error"], answer.get("status", 0), connection.place, name)
    return answers


def answers_of(connection: Connection, name: str, bodies: Sequence[Query]) -> list[Answer]:
    """Send searches together; an answer may be an error.

    They count a term's rarity over all shards: one shard's own is another's. With one shard that costs nothing.
    """
    answers: list[Answer] = []
    for searches in _parts([orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY) for body in bodies]):
        with connection.use(name) as client:
            answers += client.msearch(index=alias_of(name), searches=searches, search_type="dfs_query_then_fetch")[
                "responses"
            ]
    return answers


def _parts(searches: Sequence[bytes]) -> Iterator[list[Any]]:
    part: list[bytes] = []
    size = 0
    for search in searches:
        if part and (len(part) == 2 * _SEARCHES_AT_ONCE or size + len(search) > _MAX_BYTES):
            yield part
            part, size = [], 0
        part += [b"{}", search]
        size += len(search)
    if part:
        yield part


def by_id(connection: Connection, name: str, ids: Sequence[str]) -> dict[str, Document]:
    """Read records by id."""
    found: dict[str, Document] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = list(dict.fromkeys(ids[start : start + _IDS_AT_ONCE]))
        with connection.use(name) as client:
            answer = client.mget(index=alias_of(name), ids=some, source_includes=READ)
        for hit in answer["docs"]:
            if "error" in hit:
                raise fault(hit["error"], 0, connection.place, name)
            if hit["found"]:
                found[hit["_id"]] = document(hit)
    return found


def vectors_by_id(connection: Connection, spec: CollectionSpec, ids: Sequence[str]) -> dict[str, Vector]:
    """Read vectors by id."""
    found: dict[str, Vector] = {}
    size = max(1, min(_IDS_AT_ONCE, _PAGE_NUMBERS // spec.dim))
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), size):
        query = among("id", wanted[start : start + size])
        body: Query = {"query": query, "size": size, "_source": False, "fields": ["vector"], "track_total_hits": False}
        [answer] = ask(connection, spec.name, [body])
        hits = answer["hits"]["hits"]
        found.update(zip((hit["_id"] for hit in hits), matrix(hits, spec.dim), strict=True))
    return found


def digests(connection: Connection, name: str, sources: Sequence[str]) -> dict[str, str]:
    """Read the digests of all records of these sources."""
    found: dict[str, str] = {}
    for start in range(0, len(sources), _IDS_AT_ONCE):
        some = list(dict.fromkeys(sources[start : start + _IDS_AT_ONCE]))
        hits = walk(connection, name, {"query": among("source", some), "_source": ["digest"]})
        found.update((hit["_id"], hit["_source"]["digest"]) for hit in hits)
    return found


def walk(connection: Connection, name: str, body: Query) -> Iterator[Mapping[str, Any]]:
    """Read all hits of a search, in order of id."""
    page: Query = {**body, "sort": [{"id": "asc"}], "size": _MAX_PAGE, "track_total_hits": False}
    while True:
        [answer] = ask(connection, name, [page])
        hits = answer["hits"]["hits"]
        yield from hits
        if len(hits) < _MAX_PAGE:
            return
        page = {**page, "search_after": hits[-1]["sort"]}


def pages(connection: Connection, spec: CollectionSpec, query: Query, size: int, *, vectors: bool) -> Iterator[Batch]:
    """Walk the records that a query matches, as they are at the first page."""
    limit = min(size, _MAX_PAGE, max(1, _PAGE_NUMBERS // spec.dim) if vectors else _MAX_PAGE)
    body = {
        "query": query,
        "size": limit,
        "sort": [{"_shard_doc": "asc"}],
        "source_includes": READ,
        "fields": [{"field": "vector"}] if vectors else None,
    }
    for hits in view(connection, alias_of(spec.name), spec.name, body):
        yield Batch([document(hit) for hit in hits], matrix(hits, spec.dim) if vectors else None)


def view(connection: Connection, index: str, name: str, body: Mapping[str, Any]) -> Iterator[list[Mapping[str, Any]]]:
    """Read the hits of a search page by page, as they are at the first one; `name` is the collection in errors."""
    with connection.use(name) as client:
        point = client.open_point_in_time(index=index, keep_alive=_KEEP)["id"]
    try:
        after: list[Any] | None = None
        while True:
            with connection.use(name) as client:
                answer = client.search(
                    pit={"id": point, "keep_alive": _KEEP}, search_after=after, track_total_hits=False, **body
                )
            point = answer["pit_id"]
            hits = answer["hits"]["hits"]
            if hits:
                after = hits[-1]["sort"]
                yield hits
            if len(hits) < body["size"]:
                return
    finally:
        _close(connection, point)


def _close(connection: Connection, point: str) -> None:
    """Let a view go; when that fails it goes by itself, minutes later."""
    try:
        with connection.use() as client:
            client.options(ignore_status=404).close_point_in_time(id=point)
    except QvecError:
        return
