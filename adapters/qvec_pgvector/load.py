"""Documents and vectors in PostgreSQL's binary COPY form, written by hand: it is what makes loading fast."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qvec.copy_binary import NULL, blocks, boolean, count_lexemes, field, fields_of, integer, tsvector
from qvec.errors import InvalidInputError
from qvec.types import Document, Vectors

COLUMNS = "id, source, digest, body, metadata, metadata_json, tokens, token_count, zero, embedding"
_FIELDS = fields_of(10)
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
        zero = (np.count_nonzero(self.vectors, axis=1) == 0).tolist()
        rows = (self._row(document, is_zero=is_zero) for document, is_zero in zip(self.documents, zero, strict=True))
        return blocks(rows, self.vectors, half=self.half)

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
        parts = [_FIELDS, *map(field, fields), field(metadata.encode()) if "e+" in metadata else NULL]
        parts += (field(lexemes), integer(count), boolean(is_zero))
        return b"".join(parts)

    def _tokens(self, document: Document) -> tuple[bytes, int]:
        counted = count_lexemes(document.searchable_text)
        count = sum(counted.values())
        self.tokens += count
        lexemes = tsvector(counted)
        if len(lexemes) > _MAX_TSVECTOR:
            raise InvalidInputError(f"document {document.id!r} has over 1 MB of distinct tokens; chunk it")
        return lexemes, count


def query_vector(vector: Vectors) -> bytes:
    """Write one query in the binary form of ``vector``."""
    return struct.pack(">hh", len(vector), 0) + np.asarray(vector, ">f4").tobytes()
