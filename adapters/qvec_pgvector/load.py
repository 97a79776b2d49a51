"""Documents and vectors in PostgreSQL's binary COPY form, written by hand: it is what makes loading fast."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from qvec.errors import InvalidInputError
from qvec.lexical import term_frequencies
from qvec.types import Document, Vectors

COLUMNS = "id, source, digest, body, metadata, metadata_json, tokens, token_count, zero, embedding"
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

_FIELDS = struct.pack(">h", 10)
_NULL = struct.pack(">i", -1)
_INT = struct.Struct(">ii")
_LENGTH = struct.Struct(">i")
_POSITION = struct.Struct(">HH")
_ONCE = _POSITION.pack(1, 1)
_MAX_TSVECTOR = 2**20 - 1
_MAX_HALF = 65504.0
_MAX_LEXEME = 2046  # bytes; PostgreSQL refuses longer lexemes
_MAX_FREQUENCY = 16383  # a lexeme's position, which holds the frequency, has 14 bits


def rows(documents: Sequence[Document], vectors: Vectors, *, half: bool) -> tuple[list[bytes], list[int]]:
    """Write each document as one row of COPY BINARY.

    Returns:
        The rows, without header and trailer, and each document's number of tokens.

    Raises:
        InvalidInputError: a text has more distinct tokens than a tsvector holds, or a number is too large for halfvec.
    """
    if half and np.abs(vectors).max(initial=0) > _MAX_HALF:
        raise InvalidInputError(f"a vector holds a number beyond {_MAX_HALF:.0f}, the largest that halfvec takes")
    written: list[bytes] = []
    counts: list[int] = []
    zero = np.count_nonzero(vectors, axis=1) == 0
    for document, vector, is_zero in zip(documents, vector_fields(vectors, half=half), zero, strict=True):
        frequencies = term_frequencies(document.searchable_text)
        count = sum(frequencies.values())
        counts.append(count)
        lexemes = tsvector(frequencies)
        if len(lexemes) > _MAX_TSVECTOR:
            raise InvalidInputError(f"document {document.id!r} has over 1 MB of distinct tokens; chunk it")
        metadata = json.dumps(document.metadata, ensure_ascii=False)
        raw = metadata.encode()
        written.append(
            b"".join(
                (
                    _FIELDS,
                    _text(document.id),
                    _text(document.source),
                    _text(document.digest),
                    _text(document.text),
                    _field(b"\x01" + raw),
                    _field(raw) if "e+" in metadata else _NULL,
                    _field(lexemes),
                    _INT.pack(4, count),
                    _field(b"\x01" if is_zero else b"\x00"),
                    vector,
                )
            )
        )
    return written, counts


def vector_fields(vectors: Vectors, *, half: bool) -> list[bytes]:
    """Write vectors as length, dim, 0 and big-endian numbers: pgvector's ``vector_recv`` and ``halfvec_recv``."""
    count, dim = vectors.shape
    numbers = vectors.astype(">f2" if half else ">f4")
    head = struct.pack(">ihh", 4 + numbers.itemsize * dim, dim, 0)
    return [head + numbers[row].tobytes() for row in range(count)]


def query_vector(vector: Vectors) -> bytes:
    """Write one query in the binary form of ``vector``."""
    return struct.pack(">hh", len(vector), 0) + np.asarray(vector, ">f4").tobytes()


def tsvector(frequencies: Mapping[str, int]) -> bytes:
    """Write each token as a lexeme with one position, whose value is how often the token occurs."""
    parts = [_LENGTH.pack(len(frequencies))]
    for token, frequency in frequencies.items():
        parts.append(_lexeme_bytes(token))
        parts.append(_ONCE if frequency == 1 else _POSITION.pack(1, min(frequency, _MAX_FREQUENCY)))
    return b"".join(parts)


@lru_cache(maxsize=2**16)
def _lexeme_bytes(token: str) -> bytes:
    return lexeme(token).encode() + b"\0"


def lexeme(token: str) -> str:
    """Return the token, or for one that is too long for PostgreSQL, its hash."""
    if len(token) * 4 <= _MAX_LEXEME or len(token.encode()) <= _MAX_LEXEME:
        return token
    return hashlib.sha256(token.encode()).hexdigest()


def _text(text: str) -> bytes:
    return _field(text.encode())


def _field(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data
