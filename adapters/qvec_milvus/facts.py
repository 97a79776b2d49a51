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

from qvec import facts
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
    found = Facts()
    for what, path, value in facts.facts_of(metadata):
        found.hashes.add(hashed(what, path, value))
        if what == "equals" and isinstance(value, str):
            found.hashes.add(is_kind(path, "string"))
            found.strings[key(path)] = value
        elif what == "equals" and isinstance(value, int | float) and not isinstance(value, bool):
            found.hashes.add(is_kind(path, "number"))
            found.numbers[key(path)] = value
    if len(found.hashes) > MAX_FACTS:
        raise InvalidInputError(
            f"document {identity!r}: its metadata holds {len(found.hashes)} fields and values; Milvus takes {MAX_FACTS}"
        )
    return found


@lru_cache(maxsize=2**15, typed=True)
def hashed(what: str, path: tuple[str, ...], value: Scalar | None = None) -> str:
    """Shorten a fact, or the name of a path's kind or place, to 80 bits."""
    return "f" + hashlib.blake2b(facts.text_of(what, path, value).encode(), digest_size=10).hexdigest()


def is_kind(path: Sequence[str], kind: str) -> str:
    """Name the fact that a field holds a ``"number"`` or a ``"string"``."""
    return hashed(kind, tuple(path))


def key(path: Sequence[str]) -> str:
    """Name a path's place in the JSON fields."""
    return hashed("key", tuple(path))
