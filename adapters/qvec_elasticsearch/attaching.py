"""A vector field for an index of another program, filled where it stands.

An update names the sequence number that was read with the text: who writes to the document meanwhile is never
overwritten, and the document is taken again. The digest beside each vector is the checkpoint: it says which text the
vector was made from, so a run that was broken off goes on with the documents that have none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from qvec.attaching import AttachForm, AttachRow
from qvec.errors import CollectionNotFoundError, InvalidInputError, UnsupportedError
from qvec.types import Passport, Vectors
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.errors import reason
from qvec_elasticsearch.load import patiently
from qvec_elasticsearch.schema import MAX_DIM, quantisation

NOTE = "qvec_attached"
"""The key in the mapping's ``_meta``."""
HOLDER = "qvec_attaching"
"""The key of who is at work on it."""
BESIDE = "qvec_swapping"
"""The key of what a swap keeps beside what is searched."""

_KEEP = "30m"
_CONFLICT, _GONE = 409, 404
_REMOVE = "for (field in params.fields) { ctx._source.remove(field) }"
_ROUNDS = 10


def found(connection: Connection, index: str) -> tuple[str, Mapping[str, Any]]:
    """Look up the one index behind a name, and its mapping."""
    with connection.use() as client:
        answer = client.options(ignore_status=404).indices.get_mapping(index=index)
    if answer.meta.status == 404 or not answer.body:
        raise CollectionNotFoundError(f"no index {index!r} in Elasticsearch at {connection.place}")
    if len(answer.body) > 1:
        raise UnsupportedError(f"{index!r} stands for {len(answer.body)} indexes: attach each by its own name")
    name, described = next(iter(answer.body.items()))
    return name, described["mappings"]


def form_of(mappings: Mapping[str, Any]) -> AttachForm | None:
    """Read the note in a mapping."""
    note = mappings.get("_meta", {}).get(NOTE)
    return read_form(note) if note else None


def read_form(note: Mapping[str, Any]) -> AttachForm:
    """Read a form as `dataclasses.asdict` wrote it."""
    return AttachForm(**{**note, "passport": Passport(**note["passport"])})


def mapping(mappings: Mapping[str, Any], form: AttachForm, connection: Connection) -> dict[str, Any]:
    """Write what is added to a mapping; its other notes stay."""
    return {"_meta": {**mappings.get("_meta", {}), NOTE: asdict(form)}, "properties": fields(form, connection)}


def fields(form: AttachForm, connection: Connection) -> dict[str, Any]:
    """Write the two fields of a form.

    Raises:
        UnsupportedError: no index takes so many dimensions.
    """
    dim = form.passport.dim
    if dim > MAX_DIM:
        raise UnsupportedError(f"Elasticsearch indexes vectors to {MAX_DIM} dims, not {dim}: give a dim")
    options = {"type": quantisation(dim, connection.version)}
    vector = {"type": "dense_vector", "dims": dim, "similarity": "cosine", "index_options": options, "index": True}
    return {form.vector: vector, form.digest: {"type": "keyword", "index": False, "doc_values": False}}


def add_fields(connection: Connection, index: str, form: AttachForm) -> None:
    """Add the fields and the note; an index that has a note keeps it, for a swap may write another meanwhile."""
    name, mappings = found(connection, index)
    if not mappings.get("_source", {}).get("enabled", True):
        raise UnsupportedError(f"the index {name!r} keeps no _source, without which no document can be updated")
    added = fields(form, connection)
    _check_text(mappings, form.text, name)
    if form_of(mappings) is None:
        renote(connection, name, lambda notes: {**notes, NOTE: asdict(form)}, properties=added)


def renote(
    connection: Connection,
    index: str,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    properties: Mapping[str, Any] | None = None,
) -> None:
    """Write the notes in a mapping anew, and fields with them, in one request."""
    with connection.noting:
        name, mappings = found(connection, index)
        with connection.use() as client:
            client.indices.put_mapping(index=name, meta=change(dict(mappings.get("_meta", {}))), properties=properties)


def _check_text(mappings: Mapping[str, Any], text: str, name: str) -> None:
    inner: Mapping[str, Any] = mappings
    for key in text.split("."):
        known = inner.get("properties", {})
        if key not in known:
            raise InvalidInputError(f"the index {name!r} has no field {text!r}; it has {', '.join(sorted(known))}")
        inner = known[key]


def holder(connection: Connection, index: str) -> str:
    """Read who is at work on an index."""
    return str(found(connection, index)[1].get("_meta", {}).get(HOLDER, ""))


def hold(connection: Connection, index: str, who: str) -> None:
    """Note who is at work on an index, beside its other notes."""
    renote(connection, index, lambda notes: without(notes, HOLDER) | ({HOLDER: who} if who else {}))


def rows(
    connection: Connection, index: str, form: AttachForm, *, size: int, ids: Sequence[str] | None, vectors: bool
) -> Iterator[list[AttachRow]]:
    """Read documents: all as they are at a point in time, or some as they are now."""
    if ids is not None:
        for start in range(0, len(ids), size):
            with connection.use() as client:
                docs = client.mget(index=index, ids=ids[start : start + size], source_includes=[form.text, form.digest])
            yield [_row(hit, form) for hit in docs["docs"] if hit.get("found")]
        return
    with connection.use() as client:
        client.indices.refresh(index=index)
        point = client.open_point_in_time(index=index, keep_alive=_KEEP)["id"]
    try:
        after: list[Any] | None = None
        while True:
            with connection.use() as client:
                answer = client.search(
                    pit={"id": point, "keep_alive": _KEEP}, size=size, sort=[{"_shard_doc": "asc"}], search_after=after,
                    source_includes=[form.text, form.digest], seq_no_primary_term=True, track_total_hits=False,
                    fields=[{"field": form.vector}] if vectors else None,
                )  # fmt: skip
            point = answer["pit_id"]
            hits = answer["hits"]["hits"]
            if not hits:
                return
            after = hits[-1]["sort"]
            yield [_row(hit, form) for hit in hits]
    finally:
        with connection.use() as client:
            client.options(ignore_status=404).close_point_in_time(id=point)


def _row(hit: Mapping[str, Any], form: AttachForm) -> AttachRow:
    content = hit.get("_source", {})
    vector = hit.get("fields", {}).get(form.vector)
    stamp = (hit["_index"], hit["_seq_no"], hit["_primary_term"], hit.get("_routing"))
    held = None if vector is None else np.array(vector, np.float32)
    return AttachRow(hit["_id"], _text(content, form.text), str(content.get(form.digest) or ""), stamp, held)


def _text(content: Mapping[str, Any], path: str) -> str:
    value: object = content
    for key in [path] if path in content else path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        return "\n".join(str(item) for item in value if item is not None)
    return "" if value is None else str(value)


def write(
    connection: Connection, form: AttachForm, rows: Sequence[AttachRow], digests: Sequence[str], vectors: Vectors
) -> tuple[list[str], dict[str, str]]:
    """Send one bulk request of partial updates, each bound to the state that was read."""
    operations: list[dict[str, Any]] = []
    for row, digest, vector in zip(rows, digests, vectors, strict=True):
        index, number, term, routing = row.stamp
        action = {"_index": index, "_id": row.id, "if_seq_no": number, "if_primary_term": term}
        operations.append({"update": action | ({"routing": routing} if routing else {})})
        operations.append({"doc": {form.vector: vector.tolist(), form.digest: digest}})
    answer = patiently(connection, "", lambda: connection.opened().bulk(operations=operations))
    conflicts, refused = [], {}
    for row, item in zip(rows, answer["items"], strict=True):
        [outcome] = item.values()
        if outcome["status"] == _CONFLICT:
            conflicts.append(row.id)
        elif outcome.get("error") and outcome["status"] != _GONE:
            refused[row.id] = reason(outcome["error"])
    return conflicts, refused


def clearing(forms: Sequence[AttachForm]) -> dict[str, Any]:
    """Write the update by query that takes the values of these forms away."""
    script = {"source": _REMOVE, "params": {"fields": [name for form in forms for name in (form.vector, form.digest)]}}
    having = [{"exists": {"field": form.vector}} for form in forms]
    return {"query": {"bool": {"should": having}}, "script": script, "conflicts": "proceed"}


def without(notes: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Write the notes of a mapping but these, or but all of qvec's."""
    return {key: value for key, value in notes.items() if key not in (keys or (NOTE, HOLDER, BESIDE))}


def clear(connection: Connection, index: str, *forms: AttachForm) -> None:
    """Take the values of these forms away, of documents that are written to meanwhile in another round."""
    with connection.use() as client:
        for _ in range(_ROUNDS):
            client.indices.refresh(index=index)
            answer = client.update_by_query(index=index, **clearing(forms), refresh=True)
            if not answer["version_conflicts"]:
                return


def undo(connection: Connection, index: str, form: AttachForm) -> None:
    """Take the values away, and then the notes; those of an open swap as well."""
    name, mappings = found(connection, index)
    clear(connection, name, form, *forms_beside(mappings))
    renote(connection, name, without)


def forms_beside(mappings: Mapping[str, Any]) -> list[AttachForm]:
    """Read the form that a swap keeps beside the one that is searched, where one is open."""
    note = mappings.get("_meta", {}).get(BESIDE)
    return [read_form(note["form"])] if note else []


def steps(connection: Connection, index: str, form: AttachForm) -> list[str]:
    """Write the requests of an attach."""
    name, mappings = found(connection, index)
    action = {"_index": name, "_id": "...", "if_seq_no": 0, "if_primary_term": 1}
    added = mapping(mappings, form, connection)
    held = {**added["_meta"], HOLDER: "..."}
    update = {"doc": {form.vector: ["..."], form.digest: "..."}}
    return [
        f"PUT /{name}/_mapping {json.dumps(added)}",
        f"PUT /{name}/_mapping {json.dumps({'_meta': held})}",
        f"POST /{name}/_refresh",
        f"POST /{name}/_pit?keep_alive={_KEEP}",
        f"POST /_bulk {json.dumps({'update': action})} {json.dumps(update)}",
        f"POST /{name}/_refresh",
        f"PUT /{name}/_mapping {json.dumps({'_meta': added['_meta']})}",
    ]


def undoing_steps(connection: Connection, index: str, form: AttachForm) -> list[str]:
    """Write the requests of an undo."""
    name, mappings = found(connection, index)
    return clearing_steps(name, [form, *forms_beside(mappings)], without(mappings.get("_meta", {})))


def clearing_steps(name: str, forms: Sequence[AttachForm], notes: Mapping[str, Any]) -> list[str]:
    """Write the requests that take the values of these forms away and leave these notes."""
    return [
        f"POST /{name}/_refresh",
        f"POST /{name}/_update_by_query?refresh=true {json.dumps(clearing(forms))}",
        f"PUT /{name}/_mapping {json.dumps({'_meta': notes})}",
    ]
