"""How much the keyword leg counts against the dense leg: by the query's script, and by what both legs answer.

With the bundled model a Chinese or English search adds scores as they are, unless told otherwise: the similarity above
the lowest of the dense leg's window plus a weight times BM25 (`SCORES`). Ranks forget by how much a hit is ahead, and
that is what tells which leg to follow; by ranks (`EVIDENCE`, where ``fusion="rrf"`` is asked for) the same evidence
reaches less. The weight is read off the answers (`qvec.evidence.Evidence`): keywords count more where their first hit
stands out (one rare name, a phrase as it stands), less where the similarities fall fast (code) than where they lie
close (prose). The largest weight keeps one shared word from outweighing meaning in a collection of a few documents.

The numbers gain most over the better leg (nDCG@10), on average over sets of prose and code, with none far below it;
``python -m benchmarks.bundled_model search`` looks for them anew, and says what they do on queries and sets that it did
not see, ``weights`` measures what they reach. Other European languages, known by their function words, have numbers of
their own, in which keywords count for more; what else the model does not know is left to keywords.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum

from qvec.evidence import Evidence
from qvec.fusion import FusionSpec
from qvec.lexical import KANA_HANGUL

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_ASCII_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
# Of German, Spanish, French, Italian and Portuguese, but for most that are English words, commands or names as well.
_FUNCTION_WORDS = """
alle auf aus avec bei com con dans de dei del della der ein eine einem einen einer eines el em en et für il la las le
les los nach nicht o oder ou para pela pelo por pour que se sem sur um uma un una und une uno unter vom von zum zur
"""
_NOT_ENGLISH = frozenset(_FUNCTION_WORDS.split())
_IDENTIFIER = re.compile(r"[A-Za-z0-9]_[A-Za-z0-9]|[a-z][A-Z]|[A-Za-z]\.[A-Za-z]|`|\w\(|(?<!\w)--?\w")


class QueryKind(StrEnum):
    """What a query's letters say about the use of keywords."""

    CHINESE = "chinese"
    MIXED = "mixed"
    ENGLISH = "english"
    NAMED = "named"
    EUROPEAN = "european"
    OTHER = "other"


_CHINESE = Evidence(base=-0.72, lead=21.5, points=0.7, drop=41.5)
_ENGLISH = Evidence(base=4.8, lead=19.9, points=0.78, drop=51.4)
EVIDENCE: dict[QueryKind, Evidence] = {
    QueryKind.CHINESE: _CHINESE,
    QueryKind.MIXED: _CHINESE,
    QueryKind.ENGLISH: _ENGLISH,
    QueryKind.NAMED: _ENGLISH,
}
# For the sum of similarity and BM25 as they are, in similarity a point of BM25.
_CHINESE_SCORES = Evidence(base=-3.7, lead=4.28, points=0.107, drop=8.23, least=0.0003, most=0.3)
_ENGLISH_SCORES = Evidence(base=-5.83, lead=10.2, points=0.19, drop=19.1, rank=40, least=0.0003, most=0.3)
# The model knows some words of the languages next to English: fitted to tldr's German, Spanish, French and Portuguese.
_EUROPEAN_SCORES = Evidence(base=-4.0, lead=5.0, rank=10, least=0.0003, most=0.3)
SCORES: dict[QueryKind, Evidence] = {
    QueryKind.CHINESE: _CHINESE_SCORES,
    QueryKind.MIXED: _CHINESE_SCORES,
    QueryKind.ENGLISH: _ENGLISH_SCORES,
    QueryKind.NAMED: _ENGLISH_SCORES,
    QueryKind.EUROPEAN: _EUROPEAN_SCORES,
}
KEYWORDS_ALONE = 100.0
# Nothing was tuned for other models: plain reciprocal rank fusion, but for Chinese, whose words seldom stand in code.
WEIGHTS_OF_OTHER_MODELS: dict[QueryKind, float] = {
    QueryKind.CHINESE: 0.3,
    QueryKind.MIXED: 0.3,
    QueryKind.ENGLISH: 1.0,
    QueryKind.NAMED: 1.0,
    QueryKind.EUROPEAN: 1.0,
    QueryKind.OTHER: 1.0,
}


def query_kind(query: str) -> QueryKind:
    """Sort a query by its script, by other languages' function words and by whether it holds an identifier."""
    letters = [c for c in query if c.isalpha()]
    foreign = [c for c in letters if not c.isascii() and not _HAN.match(c)]
    if not letters or KANA_HANGUL.search(query) or 4 * len(foreign) > len(letters):
        return QueryKind.OTHER
    if _HAN.search(query):
        return QueryKind.MIXED if _ASCII_WORD.search(query) else QueryKind.CHINESE
    if not _NOT_ENGLISH.isdisjoint(query.split()):
        return QueryKind.EUROPEAN
    if foreign:
        return QueryKind.OTHER
    return QueryKind.NAMED if _IDENTIFIER.search(query) else QueryKind.ENGLISH


def weighed(how: FusionSpec, query: str, *, model: str = "bundled", free: bool = False) -> FusionSpec:
    """Say in a fusion how the keyword leg counts for one query; the dense leg counts one.

    Args:
        how: the fusion, without weights.
        query: the text as the user typed it.
        model: the embedder's `model_id`.
        free: the method too may be chosen: with the bundled model the scores are added as they are.
    """
    kind = query_kind(query)
    if model != "bundled":
        return replace(how, weights={"lexical": WEIGHTS_OF_OTHER_MODELS[kind]})
    if free and kind in SCORES:
        return replace(how, method="linear", scaling="raw", evidence=SCORES[kind])
    if kind in EVIDENCE:
        return replace(how, evidence=EVIDENCE[kind])
    return replace(how, weights={"lexical": KEYWORDS_ALONE})
