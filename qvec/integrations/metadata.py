"""Metadata as frameworks allow it, kept in metadata as databases allow it, and given back as it was.

A database holds JSON. A date is written as the ISO string that filters compare with; what it was is noted under the
key `NOTES`, which `unpack` takes out again. Values that are JSON already leave no note.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import TypeAlias, cast
from uuid import UUID

from qvec.errors import InvalidInputError
from qvec.filters import normalise
from qvec.types import Value

NOTES = "_qvec"
"""The metadata key that belongs to the integrations."""
_KINDS = "kinds"
_Path: TypeAlias = tuple[str | int, ...]
_READERS = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": bytes.fromhex,
}


def pack(metadata: Mapping[str, object], notes: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """Write metadata as JSON values.

    Args:
        metadata: may hold dates, times, decimals, UUIDs, bytes, tuples and sets beside what JSON holds.
        notes: what an integration wants to keep with the document, out of the user's sight.

    Raises:
        InvalidInputError: a value of another kind, or the key `NOTES`.
    """
    if NOTES in metadata:
        raise InvalidInputError(f"the metadata key {NOTES!r} is kept for qvec itself: take another")
    kinds: list[Value] = []
    packed = {key: _pack(value, (key,), kinds) for key, value in metadata.items()}
    kept = {**(notes or {}), **({_KINDS: kinds} if kinds else {})}
    return {**packed, NOTES: kept} if kept else packed


def unpack(metadata: Mapping[str, Value]) -> dict[str, object]:
    """Give back what `pack` was given; metadata that it did not write comes back as it is."""
    found: dict[str, object] = {key: value for key, value in metadata.items() if key != NOTES}
    # Inner values first: a tuple cannot be changed once it is one.
    for entry in reversed(cast("list[list[Value]]", notes_of(metadata).get(_KINDS, []))):
        path, kind, text = cast("tuple[list[str | int], str, str]", entry)
        _put(found, path, kind, text)
    return found


def notes_of(metadata: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the notes that `pack` was given."""
    notes = metadata.get(NOTES)
    return notes if isinstance(notes, Mapping) else {}


def _pack(value: object, path: _Path, kinds: list[Value]) -> Value:
    if isinstance(value, Mapping):
        return {_key(key, path): _pack(item, (*path, key), kinds) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        if not isinstance(value, list):
            kinds.append([list(path), type(value).__name__, ""])
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_pack(item, (*path, at), kinds) for at, item in enumerate(items)]
    if value is None or isinstance(value, str | int | float):
        return cast(Value, value)
    kind, text = _written(value, path)
    kinds.append([list(path), kind, text])
    return cast(Value, normalise(value)) if isinstance(value, date) else text


def _written(value: object, path: _Path) -> tuple[str, str]:
    match value:
        case datetime():
            return "datetime", value.isoformat()
        case date():
            return "date", value.isoformat()
        case time():
            return "time", value.isoformat()
        case Decimal():
            return "decimal", str(value)
        case UUID():
            return "uuid", str(value)
        case bytes():
            return "bytes", value.hex()
        case _:
            where = "".join(f"[{part!r}]" for part in path)
            raise InvalidInputError(
                f"metadata{where} holds {type(value).__name__}: take strings, numbers, booleans, dates, lists and dicts"
            )


def _key(key: object, path: _Path) -> str:
    if not isinstance(key, str):
        where = "".join(f"[{part!r}]" for part in path)
        raise InvalidInputError(f"metadata{where} has the key {key!r}: keys are strings")
    return key


def _put(found: dict[str, object], path: list[str | int], kind: str, text: str) -> None:
    *way, last = path
    at: object = found
    for part in way:
        at = at[part]  # type: ignore[index]  # the path was noted while this very value was walked
    inner = cast("dict[str | int, object]", at)
    sequences = {"tuple": tuple, "set": set, "frozenset": frozenset}
    if kind in sequences:
        inner[last] = sequences[kind](cast("list[object]", inner[last]))
    else:
        inner[last] = _READERS[kind](text)
