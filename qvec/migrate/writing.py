"""A batch on its way into the target: texts cut to fit, vectors made or carried, what fails set aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qvec.adapter import Adapter
from qvec.checks import document_fault
from qvec.documents import content_digest
from qvec.embedder import Embedder
from qvec.errors import EmbeddingError, EndpointError, InvalidInputError, PartialWriteError
from qvec.long_text import LongTextRule, Prepared, settle_policy
from qvec.long_text import encode as encode_records
from qvec.migrate.journal import Sampled
from qvec.migrate.source import Position, Record
from qvec.types import CollectionSpec, Document, Vectors

_SPECIAL_TOKENS = 16


@dataclass(slots=True)
class Batch:
    """What becomes of some rows.

    Attributes:
        position: of the last row.
        read: how many rows there were.
        place_of: record id -> where its row stands.
        whole_of: record id -> id of the document that it is, or is a part of.
        errors: place -> why the row was not copied.
        pieces: record id -> what to embed for it instead of its text.
        long: rows that were over the model's window or the target's limit.
    """

    position: Position
    read: int
    documents: list[Document] = field(default_factory=list)
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32))
    place_of: dict[str, str] = field(default_factory=dict)
    whole_of: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    pieces: dict[str, Prepared] = field(default_factory=dict)
    long: int = 0

    @property
    def written(self) -> list[int]:
        """Rows of `documents` whose row did not fail."""
        return [at for at, item in enumerate(self.documents) if self.place_of[item.id] not in self.errors]

    def sampled(self, wanted: Callable[[str], bool]) -> list[Sampled]:
        """Take those records for the sample that `wanted` names."""
        chosen = [at for at in self.written if wanted(self.documents[at].id)]
        return [Sampled(self.documents[at].id, content_digest(self.documents[at]), self.vectors[at]) for at in chosen]


class Preparer:
    """Turns rows into batches; touches no database.

    Args:
        max_text_bytes: longest text that the target takes.
        dim: of the target.
        embedder: makes the vectors; None: they come with the rows.
        long_text: what the target does with long texts; empty: it cuts them into parts.
    """

    def __init__(
        self, max_text_bytes: int | None, dim: int, embedder: Embedder | None, *, long_text: str = "chunk"
    ) -> None:
        self._limit = max_text_bytes
        self._dim = dim
        self._embedder = embedder
        self.long_text = settle_policy(long_text or None, None)
        self._rule = LongTextRule(embedder, self.long_text, max_text_bytes=max_text_bytes) if embedder else None

    def prepare(self, rows: Sequence[Record], copied: set[str]) -> Batch:
        """Make a batch with its vectors; see `records`."""
        batch = self.records(rows, copied)
        self.embed(batch)
        return batch

    def records(self, rows: Sequence[Record], copied: set[str]) -> Batch:
        """Make a batch whose vectors are those that came with the rows.

        A row whose id is among `copied` is one too many, unless its source cannot be resumed.
        """
        batch = Batch(rows[-1].position, len(rows))
        seen = set(copied)
        vectors = []
        for row in rows:
            document = row.document
            if document is None:
                batch.errors[row.place] = row.reason
            elif document.id in seen:
                if row.position is not None:
                    batch.errors[row.place] = f"its id {document.id!r} occurred before"
            else:
                seen.add(document.id)
                records = self._cut(row, document, batch)
                batch.documents += records
                batch.place_of |= {record.id: row.place for record in records}
                batch.whole_of |= {record.id: document.id for record in records}
                vectors += [row.vector] if records and self._embedder is None else []
        if vectors:
            batch.vectors = np.array(vectors, np.float32)
        return batch

    def _cut(self, row: Record, document: Document, batch: Batch) -> list[Document]:
        fault = document_fault(document)
        if not fault and self._embedder is None and not self.fits(document):
            fault = f"its text is over the target's limit of {self._limit} bytes; name a model, to cut and embed it"
        if not fault and self._embedder is None and (row.vector is None or row.vector.shape != (self._dim,)):
            found = "no vector" if row.vector is None else f"a vector of {len(row.vector)} numbers, not {self._dim}"
            fault = f"it has {found}"
        if fault:
            batch.errors[row.place] = fault
            return []
        if self._rule is None:
            return [document]
        try:
            made = self._rule.prepare(document)
        except EndpointError:
            raise
        except (InvalidInputError, EmbeddingError) as exc:
            batch.errors[row.place] = str(exc)
            return []
        batch.long += made.long is not None
        if made.pieces:
            batch.pieces[document.id] = made
        parts = made.records
        if len(parts) == 1:
            return parts
        total, digest = len(parts), document.digest or content_digest(document)
        return [replace(part, digest=f"{digest}/{number}/{total}") for number, part in enumerate(parts, 1)]

    def fits(self, document: Document) -> bool:
        """Tell whether a document can be one record: within the target's limit and the model's window."""
        text = document.searchable_text
        size = len(text.encode())
        if self._limit is not None and size > self._limit:
            return False
        # A tokenizer makes at most one token of a byte, so short texts need no count.
        if self._embedder is None or size + _SPECIAL_TOKENS <= self._embedder.max_tokens:
            return True
        return self._embedder.count_tokens([text])[0] <= self._embedder.max_tokens

    def embed(self, batch: Batch) -> None:
        """Make a batch's vectors, unless they came with the rows; a record that cannot be embedded is an error."""
        if self._embedder is None:
            return
        embedder = self._embedder
        batch.vectors = np.zeros((len(batch.documents), self._dim), np.float32)

        def encode(first: int, last: int) -> None:
            if first >= last:
                return
            try:
                batch.vectors[first:last] = encode_records(embedder, batch.documents[first:last], batch.pieces)
            except EndpointError:
                # The server failed, not a text: asking again for each half would not help.
                raise
            except EmbeddingError as exc:
                if last - first == 1:
                    batch.errors[batch.place_of[batch.documents[first].id]] = str(exc)
                    return
                middle = (first + last) // 2
                encode(first, middle)
                encode(middle, last)

        encode(0, len(batch.documents))


def write(adapter: Adapter, target: CollectionSpec, batch: Batch) -> None:
    """Write a batch; rows that the database refuses become errors of the batch.

    Raises:
        PassportMismatchError: the target is another collection by now.
        BackendError: the database failed.
    """
    size = max(1, adapter.capabilities.write_batch)
    rows = batch.written
    for start in range(0, len(rows), size):
        _upsert(adapter, target, batch, rows[start : start + size])


def _upsert(adapter: Adapter, target: CollectionSpec, batch: Batch, rows: Sequence[int]) -> None:
    documents = [batch.documents[row] for row in rows]
    try:
        adapter.upsert(target.name, documents, batch.vectors[list(rows)], passport=target.passport)
    except PartialWriteError as exc:
        batch.errors |= {batch.place_of[identity]: reason for identity, reason in exc.failed.items()}
    except InvalidInputError as exc:
        if len(rows) == 1:
            batch.errors[batch.place_of[documents[0].id]] = str(exc)
            return
        half = len(rows) // 2
        _upsert(adapter, target, batch, rows[:half])
        _upsert(adapter, target, batch, rows[half:])
