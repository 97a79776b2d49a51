"""What a filter may ask of a document, written out beside it in a form that every Milvus answers alike.

Milvus' own expressions over JSON differ by version in types, nulls, missing keys and escapes. So each document
carries `facts`, an array of hashes: that a field exists, what it equals, what its list contains. Equality is then
the question whether an array contains a hash. Only order needs values: numbers and strings stand in one JSON field
under the hash of their kind and path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from qvec import facts
from qvec.errors import InvalidInputError
from qvec.types import Scalar, Value
from qvec_milvus.hashing import ARRAY, number_of

ZERO_VECTOR = -64
"""The fact that a document's vector has no length."""

MAX_FACTS = ARRAY - 32
"""What is left of an array beside that and the marks of `qvec_milvus.postings`."""


@dataclass(slots=True)
class Facts:
    """The facts of one document."""

    hashes: set[int] = field(default_factory=set)
    values: dict[str, int | float | str] = field(default_factory=dict)


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
            found.values[key(path, "string")] = value
        elif what == "equals" and isinstance(value, int | float) and not isinstance(value, bool):
            found.hashes.add(is_kind(path, "number"))
            found.values[key(path, "number")] = value
    if len(found.hashes) > MAX_FACTS:
        raise InvalidInputError(
            f"document {identity!r}: its metadata holds {len(found.hashes)} fields and values; Milvus takes {MAX_FACTS}"
        )
    return found


@lru_cache(maxsize=2**15, typed=True)
def hashed(what: str, path: tuple[str, ...], value: Scalar | None = None) -> int:
    """Shorten a fact, or the name of a path's kind."""
    return number_of(facts.text_of(what, path, value))


def is_kind(path: Sequence[str], kind: str) -> int:
    """Name the fact that a field holds a ``"number"`` or a ``"string"``."""
    return hashed(kind, tuple(path))


def key(path: Sequence[str], kind: str) -> str:
    """Name a path's place in the JSON field."""
    return f"k{is_kind(path, kind):x}"
