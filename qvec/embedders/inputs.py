"""The checks that every embedder makes of its texts before it spends time on them."""

from __future__ import annotations

from collections.abc import Sequence

from qvec.checks import string_fault
from qvec.errors import EmbeddingError, TextTooLongError


def check_texts(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list, once all can be embedded; the empty text can.

    Raises:
        EmbeddingError: a single string was given for the list, or a text is no string, holds NUL or a lone surrogate;
            the message names its position.
    """
    if isinstance(texts, str | bytes):
        raise EmbeddingError("one string was given where a list of texts is taken: put it in a list")
    checked = list(texts)
    for position, text in enumerate(checked):
        if not isinstance(text, str):
            raise EmbeddingError(f"text {position} is {type(text).__name__}, not a string")
        fault = string_fault(text)
        if fault:
            raise EmbeddingError(f"text {position} {fault}")
    return checked


def check_lengths(lengths: Sequence[int], limit: int) -> None:
    """Refuse texts over a model's window; nothing is ever cut in silence.

    Raises:
        TextTooLongError: a length is over the limit; it holds the position and length of each such text.
    """
    over = {position: length for position, length in enumerate(lengths) if length > limit}
    if over:
        raise TextTooLongError(over, limit)
