"""What a filter may ask of a document, written out beside it in a form that every Milvus answers alike.

Milvus' own expressions over JSON differ by version in types, nulls, missing keys and escapes. So each document
carries `facts`, an array of short hashes: that a field exists, what it equals, what its list contains. Equality is then
the question whether an array contains a hash. Only order needs values: numbers and strings stand in two JSON fields
under the hash of their path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from qvec.errors import InvalidInputError
from qvec.types import Scalar, Value

MAX_FACTS = 4096
"""The most elements that a Milvus array takes."""


@dataclass(slots=True)
class Facts:
    """The facts of one document."""

    hashes: set[str] = field(default_factory=set)
    numbers: dict[str, int | float] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)


def facts_of(identity: str, metadata: Mapping[str, Value]) -> Facts:
    """Write a document's facts out.

    Raises:
        InvalidInputError: its metadata has more than Milvus' arrays take.
    """
    facts = Facts()
    _walk(metadata, (), facts)
    if len(facts.hashes) > MAX_FACTS:
        raise InvalidInputError(
            f"document {identity!r}: its metadata holds {len(facts.hashes)} fields and values; Milvus takes {MAX_FACTS}"
        )
    return facts


def exists(path: Sequence[str]) -> str:
    """Name the fact that a field is there."""
    return _hash("exists", tuple(path))


def equals(path: Sequence[str], value: Scalar) -> str:
    """Name the fact that a field has a value."""
    return _hash("equals", tuple(path), value)


def contains(path: Sequence[str], value: Scalar) -> str:
    """Name the fact that a field's list contains a value."""
    return _hash("contains", tuple(path), value)


def is_kind(path: Sequence[str], kind: str) -> str:
    """Name the fact that a field holds a ``"number"`` or a ``"string"``."""
    return _hash(kind, tuple(path))


def key(path: Sequence[str]) -> str:
    """Name a path's place in the JSON fields."""
    return _hash("key", tuple(path))


def _walk(value: Value, path: tuple[str, ...], facts: Facts) -> None:
    if value is None:
        return
    if path:
        facts.hashes.add(exists(path))
    if isinstance(value, Mapping):
        for name, item in value.items():
            _walk(item, (*path, name), facts)
    elif isinstance(value, str | bool | int | float):
        facts.hashes.add(equals(path, value))
        if isinstance(value, str):
            facts.hashes.add(is_kind(path, "string"))
            facts.strings[key(path)] = value
        elif not isinstance(value, bool):
            facts.hashes.add(is_kind(path, "number"))
            facts.numbers[key(path)] = value
    else:
        for item in value:
            if isinstance(item, str | bool | int | float):
                facts.hashes.add(contains(path, item))


@lru_cache(maxsize=2**15, typed=True)
def _hash(what: str, path: tuple[str, ...], value: Scalar | None = None) -> str:
    text = "\0".join((what, *path)) + "\0\0" + ("" if value is None else _canonical(value))
    return "f" + hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _canonical(value: Scalar) -> str:
    if isinstance(value, bool):
        return f"boolean {value}"
    if isinstance(value, str):
        return f"string {value}"
    return f"number {int(value) if isinstance(value, int) or value.is_integer() else repr(value)}"
