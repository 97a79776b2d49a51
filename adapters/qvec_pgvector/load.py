"""Documents and vectors in PostgreSQL's binary COPY form, written by hand: it is what makes loading fast."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qvec.errors import InvalidInputError
from qvec.lexical import Cuts, frequencies
from qvec.tsvector import MAX_POSITIONS, lexeme, positions
from qvec.types import Document, Vectors

COLUMNS = "id, source, digest, body, metadata, metadata_json, tokens, token_count, zero, embedding"
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)

_FIELDS = struct.pack(">h", 10)
_NULL = struct.pack(">i", -1)
_ZERO = struct.pack(">i?", 1, True)
_NOT_ZERO = struct.pack(">i?", 1, False)
_INT = struct.Struct(">ii")
_LENGTH = struct.Struct(">i")
_BLOCK = 2**16  # bytes to a write: the server digests one while the next is made
_JSON = json.JSONEncoder(ensure_ascii=False)
_MAX_TSVECTOR = 2**20 - 1
_MAX_HALF = 65504.0


@dataclass(slots=True)
class Load:
    """A batch on its way into PostgreSQL.

    Attributes:
        cut: write keyword tokens; else the searchable text itself, for PostgreSQL to cut.
        tokens: how many keyword tokens the documents written so far have.
    """

    documents: Sequence[Document]
    vectors: Vectors
    half: bool
    cut: bool = True
    tokens: int = 0

    def blocks(self) -> Iterator[bytes]:
        """Write the batch as COPY BINARY, block by block.

        Raises:
            InvalidInputError: a text has more distinct tokens than a tsvector holds, or a number is too large for
                halfvec.
        """
        if self.half and np.abs(self.vectors).max(initial=0) > _MAX_HALF:
            raise InvalidInputError(f"a vector holds a number beyond {_MAX_HALF:.0f}, the largest that halfvec takes")
        parts: list[bytes | memoryview] = [_HEADER]
        size = 0
        zero = (np.count_nonzero(self.vectors, axis=1) == 0).tolist()
        fields = vector_fields(self.vectors, half=self.half)
        for document, vector, is_zero in zip(self.documents, fields, zero, strict=True):
            row = self._row(document, is_zero=is_zero)
            parts += (row, vector)
            size += len(row) + len(vector)
            if size > _BLOCK:
                yield b"".join(parts)
                parts, size = [], 0
        yield b"".join([*parts, _TRAILER])

    def _row(self, document: Document, *, is_zero: bool) -> bytes:
        """Write all fields of a document but the vector."""
        lexemes, count = self._tokens(document) if self.cut else (document.searchable_text.encode(), 0)
        metadata = _JSON.encode(document.metadata)
        fields = [
            document.id.encode(),
            document.source.encode(),
            document.digest.encode(),
            document.text.encode(),
            b"\x01" + metadata.encode(),
        ]
        parts = [_FIELDS]
        for field in fields:
            parts += (_LENGTH.pack(len(field)), field)
        parts.append(_field(metadata.encode()) if "e+" in metadata else _NULL)
        parts += (_LENGTH.pack(len(lexemes)), lexemes, _INT.pack(4, count), _ZERO if is_zero else _NOT_ZERO)
        return b"".join(parts)

    def _tokens(self, document: Document) -> tuple[bytes, int]:
        counted = frequencies(document.searchable_text, _lexemes)
        count = sum(counted.values())
        self.tokens += count
        lexemes = tsvector(counted)
        if len(lexemes) > _MAX_TSVECTOR:
            raise InvalidInputError(f"document {document.id!r} has over 1 MB of distinct tokens; chunk it")
        return lexemes, count


def vector_fields(vectors: Vectors, *, half: bool) -> Iterator[memoryview]:
    """Write vectors as length, dim, 0 and big-endian numbers: pgvector's ``vector_recv`` and ``halfvec_recv``."""
    count, dim = vectors.shape
    number = np.dtype(">f2" if half else ">f4")
    table = np.empty(count, [("length", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("numbers", number, (dim,))])
    table["length"], table["dim"], table["unused"] = 4 + number.itemsize * dim, dim, 0
    table["numbers"] = vectors
    data, width = memoryview(table.view(np.uint8).data), table.itemsize
    return (data[at : at + width] for at in range(0, count * width, width))


def query_vector(vector: Vectors) -> bytes:
    """Write one query in the binary form of ``vector``."""
    return struct.pack(">hh", len(vector), 0) + np.asarray(vector, ">f4").tobytes()


def tsvector(counted: Mapping[bytes, int]) -> bytes:
    """Write each lexeme with as many positions as its token occurs, 1, 2, 3 ... up to `MAX_POSITIONS`."""
    parts = [_LENGTH.pack(len(counted))] * (2 * len(counted) + 1)
    parts[1::2] = counted
    parts[2::2] = map(_positions.__getitem__, counted.values())
    return b"".join(parts)


class _Positions(dict[int, bytes]):
    """The positions of a token that occurs so often."""

    def __missing__(self, frequency: int) -> bytes:
        places = positions(frequency)
        written = struct.pack(f">{len(places) + 1}H", len(places), *places)
        if frequency < MAX_POSITIONS:
            self[frequency] = written
        return written


_positions = _Positions()
_lexemes = Cuts(lambda token: lexeme(token).encode() + b"\0")


def _field(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data
