"""English words for a Chinese query, for the keyword leg: code is named in English, whatever its reader speaks.

The words come from texts that exist in both languages (documentation, mostly) and from the names of functions with
Chinese docstrings, by ``python -m benchmarks.bundled_model words``; the bundled model's card names them and their
licences. Of what was learnt there the likeliest two readings of a word are kept. They go behind the query, so that
every database cuts and weighs them as if they had been typed, and a text that has the Chinese words loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

from qvec.lexical import KANA_HANGUL

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
_FILE = "zh_en.tsv"


def english_words(query: str) -> list[str]:
    """Name in English what a query names in Chinese.

    Args:
        query: as typed; what is not Chinese is passed over.

    Returns:
        Lower-case words in the order of the query, each once; none for a query without Chinese words that are known, or
        with kana or hangul: the characters that Japanese and Korean share with Chinese mean other things there.
    """
    if KANA_HANGUL.search(query):
        return []
    known = _words()
    found = (word for run in _HAN.findall(query) for part in _cut(run, known) for word in known[part])
    return list(dict.fromkeys(found))


def with_english(query: str) -> str:
    """Return a query with the English words behind it; as it is, when there are none."""
    return " ".join([query, *english_words(query)])


def _cut(run: str, known: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Cut Chinese characters into known words so that the fewest are left over, then into the fewest words."""
    longest = _longest()
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for end in range(1, len(run) + 1):
        left, words, _ = best[end - 1]
        found = [(left + 1, words, end - 1)]
        for start in range(max(0, end - longest), end):
            if run[start:end] in known:
                left, words, _ = best[start]
                found.append((left, words + 1, start))
        best.append(min(found))
    pieces = []
    end = len(run)
    while end:
        start = best[end][2]
        if run[start:end] in known:
            pieces.append(run[start:end])
        end = start
    return reversed(pieces)


@cache
def _words() -> Mapping[str, tuple[str, ...]]:
    lines = resources.files("qvec").joinpath(_FILE).read_text(encoding="utf-8").splitlines()
    return {chinese: tuple(english.split()) for chinese, _, english in (line.partition("\t") for line in lines)}


@cache
def _longest() -> int:
    return max(map(len, _words()))
