"""A collection of another program, and its twin that has the same fields and qvec's vectors beside them.

Milvus Lite and servers up to 2.5 add no vector field to a collection: so a twin is made and filled, and takes the
collection's name by an alias. What stands where is told by names alone, so that a run that was killed goes on:

- ``NAME_qvec`` is the twin, or ``NAME_qvec_swap`` after a swap; its description, in Lite a property, says what it was
  given and from which collection;
- ``NAME_before`` is the collection itself, from the exchange on, unless NAME was an alias all along;
- ``NAME_qvec_unsettled`` is an alias of it from the exchange until its last writes were brought over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qvec.attaching import AttachForm
from qvec.errors import CollectionExistsError, CollectionNotFoundError, InvalidInputError, UnsupportedError
from qvec.types import IndexSpec, Passport
from qvec_milvus import schema
from qvec_milvus.connection import Connection
from qvec_milvus.naming import own_name

MARK = "attached by qvec "
PROPERTY = "qvec.attached"
HOLDER = "qvec.attaching"
DYNAMIC = "$meta"
NOTE_BYTES = 128
_VECTOR = "FLOAT_VECTOR"
_TAKEN = {"BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "VARCHAR", "JSON", "ARRAY", _VECTOR}
_STATE = {"field_name", "index_name", "total_rows", "indexed_rows", "pending_index_rows", "state"}
_SEVERAL_VECTORS_SINCE = (2, 4)


@dataclass(frozen=True, slots=True)
class Twin:
    """A collection and its twin, as they stand.

    Attributes:
        name: by which they are asked for.
        new: the twin's own name.
        form: what the twin was given.
        before: the other program's collection, by the name that it has after the exchange.
        old: the same, by its name now.
        was_alias: whether the name was an alias before.
        fields: that both have.
        left: the other program's vectors, where this Milvus has room for one field of them.
        is_dynamic: whether there are fields that no schema names.
        has_number_ids: whether the ids are numbers.
        is_switched: whether the name leads to the twin.
        is_unsettled: whether the last writes to the old one are still to be brought over.
        turn: how many twins were made before it.
    """

    name: str
    new: str
    form: AttachForm
    before: str
    old: str
    was_alias: bool
    fields: tuple[str, ...]
    left: Mapping[str, int]
    is_dynamic: bool
    has_number_ids: bool
    is_switched: bool
    is_unsettled: bool
    turn: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether the twin alone counts."""
        return self.is_switched and not self.is_unsettled


def new_name(name: str) -> str:
    """Name the twin of a collection."""
    return f"{name}_qvec"


def names(name: str) -> tuple[str, str]:
    """Name the twin, and the one that a swap puts in its place; the swap after that turns them round."""
    return new_name(name), f"{new_name(name)}_swap"


def unsettled_name(name: str) -> str:
    """Name the alias that stands while the last writes are brought over."""
    return f"{name}_qvec_unsettled"


def find(connection: Connection, name: str) -> Twin | None:
    """Look a collection's twin up; None when it has none.

    Raises:
        CollectionNotFoundError: there is no such collection.
    """
    with connection.use() as client:
        own = own_name(client, name) if client.has_collection(name) else ""
        there = [each for each in (own, *names(name)) if each in names(name) and client.has_collection(each)]
        found = read(connection, name, there[0]) if there else None
    if found is None and not own:
        raise CollectionNotFoundError(f"no collection {name!r} in Milvus at {connection.place}")
    return found


def read(connection: Connection, name: str, new: str) -> Twin | None:
    """Read what a twin was given; None when it is none."""
    with connection.use() as client:
        said = client.describe_collection(new)
        note = note_of(said)
        if note is None:
            return None
        form = AttachForm(**{**note["form"], "passport": Passport(**note["form"]["passport"])})
        old = note["before"] if client.has_collection(note["before"]) else name
        fields = {field["name"]: field["type"].name for field in said["fields"]}
        return Twin(
            name,
            new,
            form,
            note["before"],
            old,
            bool(note["was_alias"]),
            tuple(field for field in fields if field not in (form.vector, form.digest, DYNAMIC)),
            note["left"],
            bool(said.get("enable_dynamic_field")),
            fields[form.id] != "VARCHAR",
            # One whose name is gone was killed within the exchange: it is done again.
            client.has_collection(name) and own_name(client, name) == new,
            client.has_collection(unsettled_name(name)),
            int(note.get("turn", 0)),
        )


def note_of(said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Read the note of a twin."""
    text = (said.get("properties") or {}).get(PROPERTY, "")
    description = str(said.get("description") or "")
    if not text and description.startswith(MARK):
        text = description.removeprefix(MARK)
    found: Mapping[str, Any] | None = json.loads(text) if text else None
    return found


def make(connection: Connection, name: str, form: AttachForm) -> None:
    """Make the twin, empty, with the indexes that the collection has and one over the new vectors.

    Raises:
        InvalidInputError: there is no such text field.
        UnsupportedError: the collection has what a twin could not have.
        CollectionExistsError: a name that is needed is taken.
    """
    with connection.use() as client:
        said = client.describe_collection(name)
        fields = [field for field in said["fields"] if field["name"] != DYNAMIC]
        left = _left(connection, fields)
        _check(client, name, said, fields, form.text)
        own = str(said["collection_name"])
        before = own if own != name else f"{name}_before"
        for needed in {new_name(name), unsettled_name(name), before} - {own}:
            if client.has_collection(needed):
                raise CollectionExistsError(f"Milvus holds a collection {needed!r}, which the attach would make")
        [key] = [field["name"] for field in fields if field.get("is_primary")]
        note = {"form": {**asdict(form), "id": key}, "before": before, "was_alias": own != name, "left": left}
        create(connection, name, new_name(name), form, note)


def create(connection: Connection, source: str, new: str, form: AttachForm, note: Mapping[str, Any]) -> None:
    """Make a twin with the fields of a collection and those of the form; go on where that was broken off."""
    with connection.use() as client:
        said = client.describe_collection(source)
        without = {DYNAMIC, form.vector, form.digest, *note["left"]}
        kept = [field for field in said["fields"] if field["name"] not in without]
        written = json.dumps(note)
        if not client.has_collection(new):
            client.create_collection(
                new,
                schema=_schema(connection, client, said, kept, form, written),
                properties={PROPERTY: written},
                num_shards=int(said.get("num_shards") or 1),
                consistency_level=said.get("consistency_level_name") or "Strong",
            )
        if not client.list_indexes(new, form.vector):
            # sync would sleep half a second for each index; loading waits for them anyway.
            client.create_index(new, _indexes(connection, client, source, kept, form), sync=False)
        client.load_collection(new)


def holder(connection: Connection, name: str) -> str:
    """Read who is at work on a collection's twin."""
    with connection.use() as client:
        said = [client.describe_collection(each) for each in names(name) if client.has_collection(each)]
    return next((str(each["properties"][HOLDER]) for each in said if (each.get("properties") or {}).get(HOLDER)), "")


def hold(connection: Connection, name: str, who: str) -> None:
    """Note who is at work on a collection's twins; nobody is on one that is dropped."""
    with connection.use() as client:
        for each in names(name):
            if client.has_collection(each) and note_of(client.describe_collection(each)) is not None:
                client.alter_collection_properties(each, {HOLDER: who})


def _left(connection: Connection, fields: list[dict[str, Any]]) -> dict[str, int]:
    numbers = tuple(int(part) for part in connection.version.split(".")[:2] if part.isdigit())
    if connection.is_lite or numbers >= _SEVERAL_VECTORS_SINCE:
        return {}
    return {field["name"]: int(field["params"]["dim"]) for field in fields if field["type"].name == _VECTOR}


def _check(client: Any, name: str, said: Mapping[str, Any], fields: list[dict[str, Any]], text: str) -> None:
    kinds = {field["name"]: field["type"].name for field in fields}
    if schema.read(said) is not None:
        raise UnsupportedError(f"{name!r} is a collection of qvec's own: it has vectors; `swap` gives it others")
    if text not in kinds or kinds[text] != "VARCHAR":
        texts = ", ".join(sorted(field for field, kind in kinds.items() if kind == "VARCHAR")) or "none"
        raise InvalidInputError(f"the collection {name!r} has no text field {text!r}; it has {texts}")
    if found := faults(client, name, said):
        raise UnsupportedError(f"{found[0]}: copy from it instead")


def faults(client: Any, name: str, said: Mapping[str, Any]) -> list[str]:
    """Say why a collection can have no twin, in one sentence; none when it can."""
    fields = [field for field in said["fields"] if field["name"] != DYNAMIC]
    kinds = {field["name"]: field["type"].name for field in fields}
    found = [f"a {kind} field {field!r}" for field, kind in kinds.items() if kind not in _TAKEN]
    if said.get("auto_id") or any(field.get("auto_id") for field in fields):
        found.append("keys that Milvus makes by itself (auto_id)")
    if said.get("functions"):
        found.append("functions")
    has_key = any(field.get("is_partition_key") for field in fields)
    if len(client.list_partitions(name)) > 1 and not has_key:
        found.append("partitions by name")
    return [f"{name!r} has {', '.join(found)}, which no twin can have"] if found else []


def _schema(
    connection: Connection,
    client: Any,
    said: Mapping[str, Any],
    kept: list[dict[str, Any]],
    form: AttachForm,
    note: str,
) -> Any:
    kinds = connection.driver.DataType
    dynamic = bool(said.get("enable_dynamic_field"))
    found = client.create_schema(auto_id=False, enable_dynamic_field=dynamic, description=MARK + note)
    for field in kept:
        options = dict(field["params"])
        for key in ("is_primary", "is_partition_key", "nullable", "element_type"):
            if field.get(key):
                options[key] = field[key]
        if options.get("element_type") == kinds.VARCHAR:
            # Lite 3.2 does not tell how long an array's strings may be.
            options.setdefault("max_length", schema.MAX_BYTES)
        found.add_field(field["name"], field["type"], **options)
    found.add_field(form.vector, kinds.FLOAT_VECTOR, dim=form.passport.dim)
    found.add_field(form.digest, kinds.VARCHAR, max_length=NOTE_BYTES, nullable=True)
    return found


def _indexes(connection: Connection, client: Any, name: str, kept: list[dict[str, Any]], form: AttachForm) -> Any:
    found = client.prepare_index_params()
    bare = {field["name"] for field in kept if field["type"].name == _VECTOR}
    names = {field["name"] for field in kept}
    for index in client.list_indexes(name):
        told = client.describe_index(name, index)
        if told["field_name"] in names:
            found.add_index(told["field_name"], **{key: told[key] for key in told if key not in _STATE})
            bare.discard(told["field_name"])
    for field in sorted(bare):
        found.add_index(field, index_type="FLAT", metric_type="COSINE")
    spec = IndexSpec()
    settings = {"M": spec.m, "efConstruction": spec.ef_construction} if connection.auto_kind == "hnsw" else {}
    found.add_index(form.vector, index_type=connection.auto_kind.upper(), metric_type="COSINE", **settings)
    return found


def switch(connection: Connection, twin: Twin) -> None:
    """Give the name to the twin; it is without a collection for a request's time where it was none's alias."""
    with connection.use() as client:
        if twin.old == twin.name:
            client.rename_collection(twin.name, twin.before)
            # Lite 3.2 lets go of a collection that is renamed.
            client.load_collection(twin.before)
        if not client.has_collection(unsettled_name(twin.name)):
            client.create_alias(twin.before, unsettled_name(twin.name))
        if client.has_collection(twin.name):
            client.alter_alias(twin.new, twin.name)
        else:
            client.create_alias(twin.new, twin.name)


def settle(connection: Connection, twin: Twin) -> None:
    """Note that the last writes were brought over."""
    with connection.use() as client:
        client.drop_alias(unsettled_name(twin.name))


def restore(connection: Connection, twin: Twin) -> None:
    """Give the name back, and drop the twin."""
    with connection.use() as client:
        if twin.was_alias and twin.is_switched:
            client.alter_alias(twin.before, twin.name)
        elif twin.is_switched:
            client.drop_alias(twin.name)
        # Not before the twin has lost the name: were that broken off, it would pass for one that alone counts.
        if client.has_collection(unsettled_name(twin.name)):
            client.drop_alias(unsettled_name(twin.name))
        if not twin.was_alias and twin.old != twin.name:
            client.rename_collection(twin.old, twin.name)
            client.load_collection(twin.name)
        client.drop_collection(twin.new)
