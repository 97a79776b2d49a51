"""What a filter may ask of a document, written out beside it in two keyword fields.

Elasticsearch's own fields for free JSON fall short of the definition: ``flattened`` turns 1, "1" and true into one
word and orders 10 before 9, and a dynamic mapping takes the type of the first value for all and refuses the rest. So
each document carries `facts`, short hashes that say that a field exists, what it equals and what its list contains: a
filter on them is a look into the inverted index. What has an order stands in `order`, behind the hash of its path, in
a form whose bytes order as the values do.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qvec import facts
from qvec.types import Scalar, Value

MAX_ORDERED = 30_000
"""Bytes of a string that take part in its order; Lucene's terms end at 32,766."""

_SIGN = 1 << 63
_HALF = 0x8000


@dataclass(slots=True)
class Facts:
    """The facts of one document."""

    hashes: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)


def facts_of(metadata: Mapping[str, Value]) -> Facts:
    """Write a document's facts out."""
    found = Facts()
    for what, path, value in facts.facts_of(metadata):
        found.hashes.add(hashed(what, path, value))
        if what == "equals" and isinstance(value, str):
            found.ordered.add(ordered(path, _cut(value)))
        elif what == "equals" and isinstance(value, int | float) and not isinstance(value, bool):
            found.ordered.add(ordered(path, value))
    return found


def hashed(what: str, path: Sequence[str], value: Scalar | None = None) -> str:
    """Shorten a fact, or the name of a path's values in `order`, to 96 bits.

    Two of a billion facts share theirs with a chance of one in 10**11.
    """
    written = facts.text_of(what, path, value).encode()
    return base64.urlsafe_b64encode(hashlib.blake2b(written, digest_size=12).digest()).decode()


def ordered(path: Sequence[str], value: str | int | float) -> str:
    """Write a value so that it stands among the values of its field, and its kind, in their order."""
    text = value if isinstance(value, str) else number_key(value)
    return f"{prefix_of(path, kind_of(value))}{text}"


def prefix_of(path: Sequence[str], kind: str) -> str:
    """Write what all values of a field and kind start with in `order`."""
    return f"{hashed('order', path)}{kind}"


def kind_of(value: str | int | float) -> str:
    """Name a value's kind: ``s`` for a string, ``n`` for a number."""
    return "s" if isinstance(value, str) else "n"


def number_key(value: int | float) -> str:
    """Write a number as 20 hexadecimal digits that order as numbers do, 64-bit integers and doubles alike.

    The bits of the nearest double, turned so that they order (IEEE 754), then how far an integer lies from that double:
    at most 512, for 64 bits.
    """
    nearest = float(value)
    [bits] = struct.unpack(">Q", struct.pack(">d", nearest or 0.0))
    turned = bits ^ (2**64 - 1) if bits & _SIGN else bits | _SIGN
    rest = value - int(nearest) if isinstance(value, int) else 0
    return f"{turned:016x}{rest + _HALF:04x}"


def _cut(text: str) -> str:
    if len(text) * 4 <= MAX_ORDERED:
        return text
    return text.encode()[:MAX_ORDERED].decode(errors="ignore")
