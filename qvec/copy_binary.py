"""PostgreSQL's binary COPY form, written by hand: it is what makes loading fast."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from qvec.lexical import Cuts, frequencies
from qvec.tsvector import MAX_LEXEME, MAX_POSITIONS, lexeme, positions
from qvec.types import Vectors

NULL = struct.pack(">i", -1)
"""A field without a value."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_BLOCK = 2**16  # bytes to a write: the server digests one while the next is made
_LENGTH = struct.Struct(">i")
_INT = struct.Struct(">ii")
_BOOLS = (struct.pack(">i?", 1, False), struct.pack(">i?", 1, True))


def blocks(rows: Iterable[bytes], vectors: Vectors, *, half: bool) -> Iterator[bytes]:
    """Write rows whose last field is their vector, block by block.

    Args:
        rows: each with all of its fields but the vector, drawn one at a time.
        vectors: one a row, float32 of shape (rows, dim).
        half: they go into a ``halfvec``, else into a ``vector``.
    """
    parts: list[bytes | memoryview] = [_HEADER]
    size = 0
    for row, vector in zip(rows, vector_fields(vectors, half=half), strict=True):
        parts += (row, vector)
        size += len(row) + len(vector)
        if size > _BLOCK:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join([*parts, _TRAILER])


def fields_of(count: int) -> bytes:
    """Begin a row of so many fields."""
    return struct.pack(">h", count)


def field(data: bytes) -> bytes:
    """Write a field: its length, and itself."""
    return _LENGTH.pack(len(data)) + data


def integer(value: int) -> bytes:
    """Write an ``integer`` field."""
    return _INT.pack(4, value)


def boolean(value: int) -> bytes:
    """Write a ``boolean`` field."""
    return _BOOLS[value]


def count_lexemes(text: str) -> dict[bytes, int]:
    """Count a text's keyword tokens, in the form that `tsvector` writes."""
    return frequencies(text, _lexemes)


def tsvector(counted: Mapping[bytes, int]) -> bytes:
    """Write each lexeme with as many positions as its token occurs, 1, 2, 3 ... up to `MAX_POSITIONS`."""
    parts = [_LENGTH.pack(len(counted))] * (2 * len(counted) + 1)
    parts[1::2] = counted
    parts[2::2] = map(_positions.__getitem__, counted.values())
    return b"".join(parts)


def vector_fields(vectors: Vectors, *, half: bool) -> Iterator[memoryview]:
    """Write vectors as length, dim, 0 and big-endian numbers: pgvector's ``vector_recv`` and ``halfvec_recv``."""
    count, dim = vectors.shape
    number = np.dtype(">f2" if half else ">f4")
    table = np.empty(count, [("length", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("numbers", number, (dim,))])
    table["length"], table["dim"], table["unused"] = 4 + number.itemsize * dim, dim, 0
    table["numbers"] = vectors
    data, width = memoryview(table.view(np.uint8).data), table.itemsize
    return (data[at : at + width] for at in range(0, count * width, width))


class _Positions(dict[int, bytes]):
    """What follows a lexeme: the NUL that ends it, and the positions of a token that occurs so often."""

    def __missing__(self, frequency: int) -> bytes:
        places = positions(frequency)
        written = struct.pack(f">x{len(places) + 1}H", len(places), *places)
        if frequency < MAX_POSITIONS:
            self[frequency] = written
        return written


def _encoded(tokens: Sequence[str]) -> list[bytes]:
    together = "\0".join(tokens).encode()
    if len(together) > MAX_LEXEME:  # else no token is too long either
        together = "\0".join(map(lexeme, tokens)).encode()
    return together.split(b"\0")


_positions = _Positions()
_lexemes = Cuts(_encoded)
