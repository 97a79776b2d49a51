"""How much the keyword leg counts against the dense leg: by the query's script, and by what both legs answer.

For the bundled model the weight of a Chinese or English query is read off the answers (`qvec.evidence.Evidence`): over
code the similarities fall fast and keywords stand close together, over prose the other way round. Single scores, their
gaps and ratios at several ranks, the legs' overlap, the share of the greatest possible BM25 and of the terms matched
were tried on half of each set's queries and judged on the other half; these two told most. The numbers are those that
keep the fusion least below the better leg (nDCG@10) over the sets of the model card, SciFact, cmrc2018, pyfaq and
limit_small, for Chinese also drcd and xquad; ``python -m benchmarks.bundled_model weights`` measures what they reach,
``search`` looks for them anew.
Chinese is counted in points of BM25, because a phrase of many bigrams that occurs as it stands is what tells there;
English by the share of the score, because one rare name is enough. Other languages, which the model does not know, are
left to keywords.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum

from qvec.evidence import Evidence
from qvec.fusion import FusionSpec

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


_CHINESE = Evidence(base=7.5, points=1.2, drop=65.0)
_ENGLISH = Evidence(base=7.6, lead=16.9, drop=58.5)
EVIDENCE: dict[QueryKind, Evidence] = {
    QueryKind.CHINESE: _CHINESE,
    QueryKind.MIXED: _CHINESE,
    QueryKind.ENGLISH: _ENGLISH,
    QueryKind.NAMED: _ENGLISH,
}
# For the sum of similarity and BM25 as they are, in similarity a point of BM25.
_CHINESE_SCORES = Evidence(base=-1.148, lead=0.584, drop=12.56, rank=20, least=0.0003, most=3.0)
_ENGLISH_SCORES = Evidence(base=-4.697, lead=7.516, drop=10.41, rank=20, least=0.0003, most=3.0)
SCORES: dict[QueryKind, Evidence] = {
    QueryKind.CHINESE: _CHINESE_SCORES,
    QueryKind.MIXED: _CHINESE_SCORES,
    QueryKind.ENGLISH: _ENGLISH_SCORES,
    QueryKind.NAMED: _ENGLISH_SCORES,
}
KEYWORDS_ALONE = 100.0
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
