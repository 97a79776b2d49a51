"""The bytes of vectors and of the indexes over them, by dim and kind of number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qvec.surveying import Bits

MAX_VECTOR_DIM, MAX_HALFVEC_DIM = 2000, 4000
_MAX_BITS = 64_000
_M = 16
# pgvector 0.8's src/hnsw.h: an element's header with its ten heap pointers, and a vector's own.
_PAGE, _PAGE_HEADERS, _POINTER = 8192, 24 + 8, 4
_ELEMENT, _VECTOR, _NEIGHBOUR = 72, 8, 6


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes at one dim, as numbers of four bytes, of two (``halfvec``), of one, and as bits.

    The indexes are HNSW with m=16; None where the database builds none over such numbers.
    """

    dim: int
    float32: int
    float32_index: int | None
    halfvec: int
    halfvec_index: int | None
    int8: int
    int8_index: int | None
    binary: int
    binary_index: int | None


def storage(rows: int, dim: int, index_bytes: Callable[[int, int, Bits], int | None] | None = None) -> Storage:
    """Work out the bytes of so many vectors, with the indexes of a database; None for pgvector's."""
    sized = index_bytes or pgvector_bytes
    return Storage(
        dim=dim,
        float32=rows * dim * 4,
        float32_index=sized(rows, dim, 32),
        halfvec=rows * dim * 2,
        halfvec_index=sized(rows, dim, 16),
        int8=rows * dim,
        int8_index=sized(rows, dim, 8),
        binary=rows * -(-dim // 8),
        binary_index=sized(rows, dim, 1),
    )


def pgvector_bytes(rows: int, dim: int, bits: Bits) -> int | None:
    """Work out pgvector's HNSW index; it takes no int8, and no more dims than its page has room for."""
    if dim > {32: MAX_VECTOR_DIM, 16: MAX_HALFVEC_DIM, 8: 0, 1: _MAX_BITS}[bits]:
        return None
    return hnsw_bytes(rows, -(-dim // 8), 1) if bits == 1 else hnsw_bytes(rows, dim, bits // 8)


def hnsw_bytes(rows: int, dim: int, width: int, m: int = _M) -> int:
    """Work out the size of pgvector's HNSW index from its page layout: whole rows to a page, each with its links."""
    element = _aligned(_ELEMENT + _VECTOR + dim * width) + _POINTER
    links = _aligned(4 + 2 * m * _NEIGHBOUR) + _POINTER
    usable = _PAGE - _PAGE_HEADERS
    if element + links > usable:
        return rows * _PAGE + rows * links // usable * _PAGE
    return -(-rows // (usable // (element + links))) * _PAGE


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
