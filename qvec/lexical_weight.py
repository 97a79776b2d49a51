"""How much the keyword leg counts against the dense leg, read off the query alone.

The weights were chosen for the bundled model by ``python -m benchmarks.bundled_model weights`` over the sets named in
its model card: keywords help an English query that names things, mislead a Chinese one over English code, and carry
those languages that the model does not know.
"""

from __future__ import annotations

import re
from enum import StrEnum

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_ASCII_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9]_[A-Za-z0-9]|[a-z][A-Z]|[A-Za-z]\.[A-Za-z]|`|\w\(|(?<!\w)--?\w")
_KANA_HANGUL = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")


class QueryKind(StrEnum):
    """What a query's letters say about the use of keywords."""

    CHINESE = "chinese"
    MIXED = "mixed"
    ENGLISH = "english"
    NAMED = "named"
    OTHER = "other"


WEIGHTS: dict[QueryKind, float] = {
    QueryKind.CHINESE: 0.05,
    QueryKind.MIXED: 0.1,
    QueryKind.ENGLISH: 0.05,
    QueryKind.NAMED: 1.0,
    QueryKind.OTHER: 100.0,
}
# Nothing was tuned for other models: plain reciprocal rank fusion, but for Chinese, whose words seldom stand in code.
WEIGHTS_OF_OTHER_MODELS: dict[QueryKind, float] = {
    QueryKind.CHINESE: 0.3,
    QueryKind.MIXED: 0.3,
    QueryKind.ENGLISH: 1.0,
    QueryKind.NAMED: 1.0,
    QueryKind.OTHER: 1.0,
}


def query_kind(query: str) -> QueryKind:
    """Sort a query by its script and by whether it holds an identifier."""
    letters = [c for c in query if c.isalpha()]
    foreign = [c for c in letters if not c.isascii() and not _HAN.match(c)]
    if not letters or _KANA_HANGUL.search(query) or 4 * len(foreign) > len(letters):
        return QueryKind.OTHER
    if _HAN.search(query):
        return QueryKind.MIXED if _ASCII_WORD.search(query) else QueryKind.CHINESE
    if foreign:
        return QueryKind.OTHER
    return QueryKind.NAMED if _IDENTIFIER.search(query) else QueryKind.ENGLISH


def lexical_weight(query: str, *, model: str = "bundled") -> float:
    """Weigh the keyword leg for one query; the dense leg weighs one.

    Args:
        query: the text as the user typed it.
        model: the embedder's `model_id`.

    Returns:
        The factor of the keyword leg's reciprocal ranks, at least 0.
    """
    return (WEIGHTS if model == "bundled" else WEIGHTS_OF_OTHER_MODELS)[query_kind(query)]
