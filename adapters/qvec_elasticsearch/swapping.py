"""A second vector field beside that of an attached index, and the exchange of the two.

Both are filled as an attach fills one. Which is searched stands in the mapping's ``_meta``, with model and dim, and the
other one beside it: one update of the mapping exchanges them, and who searches reads the one or the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from qvec.attaching import AttachForm, AttachSwap
from qvec.errors import CollectionNotFoundError
from qvec_elasticsearch import attaching
from qvec_elasticsearch.attaching import BESIDE, NOTE, found, renote
from qvec_elasticsearch.connection import Connection


def swap_of(mappings: Mapping[str, Any]) -> AttachSwap | None:
    """Read the note of a swap."""
    note = mappings.get("_meta", {}).get(BESIDE)
    return AttachSwap(attaching.read_form(note["form"]), note["state"]) if note else None


def begin_steps(connection: Connection, index: str, form: AttachForm) -> list[str]:
    """Write the requests of the beginning, and of a batch."""
    name, mappings = found(connection, index)
    added = {"_meta": _begun(mappings.get("_meta", {}), form), "properties": attaching.fields(form, connection)}
    update = {"doc": {form.vector: ["..."], form.digest: "..."}}
    action = {"_index": name, "_id": "...", "if_seq_no": 0, "if_primary_term": 1}
    return [
        f"PUT /{name}/_mapping {json.dumps(added)}",
        f"POST /_bulk {json.dumps({'update': action})} {json.dumps(update)}",
    ]


def begin(connection: Connection, index: str, form: AttachForm) -> None:
    """Add the fields and the note of the second form."""
    renote(connection, index, lambda notes: _begun(notes, form), properties=attaching.fields(form, connection))


def exchange_steps(connection: Connection, index: str) -> list[str]:
    """Write the request of the exchange."""
    name, mappings = found(connection, index)
    notes = mappings.get("_meta", {})
    written = _exchanged(notes) if BESIDE in notes else {**notes, NOTE: "...", BESIDE: "..."}
    return [f"PUT /{name}/_mapping {json.dumps({'_meta': written})}"]


def exchange(connection: Connection, index: str) -> None:
    """Let the two forms trade places."""
    renote(connection, index, _exchanged)


def end_steps(connection: Connection, index: str) -> list[str]:
    """Write the requests of the end."""
    name, mappings = found(connection, index)
    return attaching.clearing_steps(name, attaching.forms_beside(mappings), _ended(mappings.get("_meta", {})))


def end(connection: Connection, index: str) -> None:
    """Take the values of the second form away, and then its note."""
    name, mappings = found(connection, index)
    attaching.clear(connection, name, *attaching.forms_beside(mappings))
    renote(connection, name, _ended)


def _begun(notes: Mapping[str, Any], form: AttachForm) -> dict[str, Any]:
    return {**notes, BESIDE: {"form": asdict(form), "state": "filling"}}


def _exchanged(notes: Mapping[str, Any]) -> dict[str, Any]:
    if BESIDE not in notes:
        raise CollectionNotFoundError("no swap of the index is open")
    beside = notes[BESIDE]
    state = "back" if beside["state"] == "switched" else "switched"
    return {**notes, NOTE: beside["form"], BESIDE: {"form": notes[NOTE], "state": state}}


def _ended(notes: Mapping[str, Any]) -> dict[str, Any]:
    return attaching.without(notes, BESIDE)
