"""What becomes of a document that is over the model's window: cut to an exact count of tokens, or its pieces pooled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from qvec.checks import MAX_ID_BYTES
from qvec.documents import break_up, split_document
from qvec.embedder import Embedder
from qvec.errors import EmbeddingError, InvalidInputError, PassportMismatchError
from qvec.types import CollectionSpec, Document, Vector, Vectors

LongText: TypeAlias = Literal["chunk", "truncate", "pool", "error"]
LONG_TEXTS: tuple[LongText, ...] = get_args(LongText)
DEFAULT_LONG_TEXT: LongText = "chunk"

# A tokenizer makes at most one token of a byte, and sets few marks besides.
_SPECIAL_TOKENS = 16
# A piece with so many times the window's tokens, going by the whole text, does not fit.
_HOPELESS = 3
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LongDocument:
    """What was done to a document that was too long.

    Attributes:
        policy: ``"chunk"``, ``"truncate"`` or ``"pool"``.
        tokens: of the whole document, title included, as the embedder counts.
        limit: the model's window, in tokens.
        pieces: records that it was cut into, or pieces whose vectors were pooled; 1 when it was truncated.
        kept: tokens of it that are in the vectors: fewer than `tokens` only when it was truncated.
    """

    policy: LongText
    tokens: int
    limit: int
    pieces: int
    kept: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document made ready.

    Attributes:
        records: it, or its parts.
        pieces: what to embed for the only record in place of its text; empty: the text itself.
        weights: the pieces' tokens.
        long: what was done to it; None where it fits.
    """

    records: list[Document]
    pieces: tuple[str, ...] = ()
    weights: tuple[int, ...] = ()
    long: LongDocument | None = None


class LongTextRule:
    """Makes documents ready under a policy."""

    def __init__(self, embedder: Embedder, policy: LongText, *, max_text_bytes: int | None) -> None:
        self._embedder = embedder
        self._policy = policy
        self._max_text_bytes = max_text_bytes
        self._counted: tuple[str | None, int] = (None, 0)

    def prepare(self, document: Document) -> Prepared:
        """Leave a document that fits as it is, and treat another one as the policy says.

        Raises:
            InvalidInputError: the policy refuses it, or it cannot be cut.
            EmbeddingError: it cannot be counted or cut.
        """
        if self._fits(document):
            return Prepared([document])
        if self._policy == "error":
            raise InvalidInputError(
                f"it is over the model's window of {self._embedder.max_tokens} tokens or the database's text limit of "
                f"{self._max_text_bytes} bytes; chunk it, or index it with long_text='chunk', 'truncate' or 'pool'"
            )
        tokens = self._count(document.searchable_text)
        if self._policy == "chunk":
            return self._chunked(document, tokens)
        if not self._can_store(document):
            raise InvalidInputError(
                f"its text is over the database's limit of {self._max_text_bytes} bytes, and only long_text='chunk' "
                f"stores it; this collection keeps {self._policy!r}"
            )
        return self._truncated(document, tokens) if self._policy == "truncate" else self._pooled(document, tokens)

    def _chunked(self, document: Document, tokens: int) -> Prepared:
        hopeless = self._hopeless(document, tokens)
        parts = split_document(document, lambda part: len(part.text) <= hopeless and self._fits(part))
        if len(parts[-1].id.encode()) > MAX_ID_BYTES:
            raise InvalidInputError(f"its parts' ids would be longer than {MAX_ID_BYTES} bytes; take a shorter id")
        return Prepared(parts, long=self._note(document, tokens, pieces=len(parts), kept=tokens))

    def _truncated(self, document: Document, tokens: int) -> Prepared:
        text = cut_to_tokens(document.searchable_text, self._count, self._embedder.max_tokens)
        kept = self._count(text)
        return Prepared([document], (text,), (kept,), self._note(document, tokens, pieces=1, kept=kept))

    def _pooled(self, document: Document, tokens: int) -> Prepared:
        hopeless = self._hopeless(document, tokens)
        pieces = break_up(document.searchable_text, lambda text: len(text) <= hopeless and self._few_tokens(text))
        weights = self._embedder.count_tokens(pieces)
        note = self._note(document, tokens, pieces=len(pieces), kept=tokens)
        return Prepared([document], tuple(pieces), tuple(weights), note)

    def _note(self, document: Document, tokens: int, *, pieces: int, kept: int) -> LongDocument:
        note = LongDocument(self._policy, tokens, self._embedder.max_tokens, pieces, kept)
        _logger.info("document %s is too long: %s", document.id, note)
        return note

    def _fits(self, document: Document) -> bool:
        return self._can_store(document) and self._few_tokens(document.searchable_text)

    def _can_store(self, document: Document) -> bool:
        limit = self._max_text_bytes
        return limit is None or len(document.searchable_text.encode()) <= limit

    def _few_tokens(self, text: str) -> bool:
        limit = self._embedder.max_tokens
        return len(text.encode()) + _SPECIAL_TOKENS <= limit or self._count(text) <= limit

    def _hopeless(self, document: Document, tokens: int) -> int:
        """Say from how many characters on a piece is cut without counting: halving megabytes would count them often."""
        return _HOPELESS * self._embedder.max_tokens * len(document.searchable_text) // max(1, tokens)

    def _count(self, text: str) -> int:
        if text != self._counted[0]:
            self._counted = (text, self._embedder.count_tokens([text])[0])
        return self._counted[1]


def settle_policy(asked: str | None, held: CollectionSpec | None, *, default: str | None = None) -> LongText:
    """Find the policy of a collection: the one that it keeps, else the one asked for.

    A run skips documents that have not changed, so another policy would leave vectors of both kinds side by side.

    Args:
        asked: for this run; None takes the collection's own.
        held: the collection as it is; None where it is not there yet.
        default: for a collection that keeps none.

    Raises:
        InvalidInputError: there is no such policy.
        PassportMismatchError: the collection keeps another one.
    """
    for named in (asked, default):
        if named is not None and named not in LONG_TEXTS:
            raise InvalidInputError(f"long_text={named!r}: takes {', '.join(LONG_TEXTS)}")
    if held is None or held.passport is None:
        return _known(asked or default or DEFAULT_LONG_TEXT)
    kept = held.passport.long_text or DEFAULT_LONG_TEXT
    if asked is not None and asked != kept:
        raise PassportMismatchError(
            f"collection {held.name!r} keeps long_text={kept!r}; this call asks for {asked!r}. Leave long_text out, "
            "drop the collection and index it anew, or index into a new one"
        )
    return _known(kept)


def cut_to_tokens(text: str, count: Callable[[str], int], limit: int) -> str:
    """Return the longest beginning of a text that the search finds to hold at most `limit` tokens.

    Args:
        text: over the limit.
        count: tokens of a text.
        limit: tokens allowed.

    Raises:
        EmbeddingError: not even an empty text fits.
    """
    if count("") > limit:
        raise EmbeddingError(f"the window of {limit} tokens has no room beside the model's own prefix and marks")
    low, high = 0, len(text)
    at = min(max(1, high * limit // count(text)), high - 1)
    step = max(1, at // 64)
    # By proportion the place is about right; steps that double bracket it, and halving finds it.
    while high - low > 1:
        if count(text[:at]) <= limit:
            low, at = at, at + step
        else:
            high, at = at, at - step
        step *= 2
        if not low < at < high:
            at = (low + high) // 2
    return text[:low]


def encode(embedder: Embedder, records: Sequence[Document], made: Mapping[str, Prepared]) -> Vectors:
    """Embed records: each as the pieces that it was made ready as, pooled, or as its text.

    Args:
        embedder: the model.
        records: in the order of the rows.
        made: record id -> how it was made ready, of those with `Prepared.pieces`.

    Raises:
        EmbeddingError: the model refuses a text, or the vectors of a record's pieces cancel out.
    """
    texts = [list(made[record.id].pieces) if record.id in made else [record.searchable_text] for record in records]
    rows = embedder.encode_document([text for several in texts for text in several])
    if len(rows) == len(records):
        return rows
    ends = np.cumsum([len(several) for several in texts])
    return np.stack(
        [
            part[0] if len(part) == 1 else pool(part, made[record.id].weights)
            for record, part in zip(records, np.split(rows, ends[:-1]), strict=True)
        ]
    )


def pool(rows: Vectors, weights: Sequence[int]) -> Vector:
    """Return the mean of the pieces' vectors, weighted by their tokens and brought to unit length.

    Args:
        rows: float32 ``(pieces, dim)`` of unit length.
        weights: tokens of each.

    Raises:
        EmbeddingError: the vectors cancel out.
    """
    mean = np.average(rows.astype(np.float64), axis=0, weights=np.asarray(weights, np.float64))
    length = float(np.linalg.norm(mean))
    if length < np.finfo(np.float32).eps:
        raise EmbeddingError("its pieces' vectors cancel out and have no mean direction: take long_text='chunk'")
    return (mean / length).astype(np.float32)


def _known(name: str) -> LongText:
    return next(policy for policy in LONG_TEXTS if policy == name)
