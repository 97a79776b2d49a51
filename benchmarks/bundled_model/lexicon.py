"""Render English docstrings in Chinese, word by word, with a lexicon learnt from the aligned texts.

Descriptions of Python code are mostly English: these rough queries are what teaches Chinese words for code at scale.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

import numpy as np

from benchmarks.bundled_model.forbidden import load_forbidden, text_key
from benchmarks.bundled_model.places import Row, cache, read_rows, write_rows

Lexicon = Mapping[str, Sequence[tuple[str, float]]]
SEED = 3
ROUNDS = 6
LONGEST = 40
SURE = 0.06
SEEN = 1.5
MOST_NAMED = 12
# Everything that a cloud's SDK describes is a method of some client: that word would mean a thousand things.
_SDKS = ("huaweicloud", "tencentcloud", "volcengine", "tc-auto")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_DEFINED = re.compile(r"(?:def|class|func(?:tion)?)\s+(?:\([^)]*\)\s*)?(\w+)|(\w+)\s*\(")
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+")
# English words that a Chinese query has no place for; those with a rendering appear in a third of the queries.
_DROPPED = """
the a an of to is are be by for in on at as it its this that these those with from and or into if we you your will can
may should must not no such their there here has have been was were which whether when where then than so but per via
using used use given specified one any all each every some other only also just about up out over under between within
"""
_SOMETIMES = {
    "in": "中", "all": "所有", "not": "不", "if": "如果", "whether": "是否", "and": "和", "or": "或", "from": "从",
    "by": "按", "each": "每个", "using": "使用", "into": "为", "between": "之间",
}  # fmt: skip
_EMPTY = """
的 中 为 将 并 对 向 与 进行 是 这 在 以 和 会 该 一个 用 可以 或 被 从 到 时 使用 个 把 其 由 则 也 而 及 等 之 来 于
使 有 当 如果 那么 它 您 你 我们 需要 可能 这个 这些 一些 所 后 前 即 了 上 下 里 内
"""
EMPTY_ENGLISH, EMPTY_CHINESE = frozenset(_DROPPED.split()), frozenset(_EMPTY.split())


def build() -> None:
    """Write rendered.jsonl.gz: the row of an en_code pair among its kind, and its summary in Chinese words."""
    lexicon = learn(both_languages())
    asked, chance = load_forbidden().texts, Random(SEED)
    english = (row["q"] for row in read_rows(cache() / "pairs.jsonl.gz") if row["task"] == "en_code")
    rendered = ((i, render(text, lexicon, chance)) for i, text in enumerate(english) if 2 <= len(text.split()) <= 16)
    rows = ({"row": i, "q": text} for i, text in rendered if text and text_key(text) not in asked)
    print(f"{write_rows(cache() / 'rendered.jsonl.gz', rows)} queries by {len(lexicon)} words")


def both_languages() -> Iterator[tuple[list[str], list[str]]]:
    """Read what says the same in English and in Chinese: aligned texts, and names with what their docstrings say."""
    for row in read_rows(cache() / "pairs.jsonl.gz"):
        if row["task"] == "zh_en":
            yield english_words(row["d"]), chinese_words(row["q"])
        elif row["task"] == "zh_code" and not any(sdk in row["g"].lower() for sdk in _SDKS):
            name = english_words(name_of(row))
            if 1 <= len(name) <= MOST_NAMED:
                yield name, chinese_words(row["q"])[:MOST_NAMED]


def name_of(row: Row) -> str:
    """Name the function or class of a pair, or nothing."""
    if row["h"]:
        return str(row["h"]).rsplit(".", 1)[-1]
    defined = _DEFINED.search(row["c"])
    return "" if defined is None else defined.group(1) or defined.group(2)


def learn(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Lexicon:
    """Learn which Chinese words stand for an English one: IBM's first model, over whole texts.

    Args:
        pairs: the words of texts in English and in Chinese.

    Returns:
        For each English word its likeliest Chinese words, with their probabilities.
    """
    cut = [(english[:LONGEST], chinese[:LONGEST]) for english, chinese in pairs]
    left, right = _numbered(words for words, _ in cut), _numbered(words for _, words in cut)
    english = [np.array([0, *{left[word] for word in words if word in left}]) for words, _ in cut]
    chinese = [np.array([right[word] for word in words if word in right], int) for _, words in cut]
    # A seat is one Chinese word of one text, and every English word of that text may have put it there.
    sources = np.concatenate([np.tile(one, len(other)) for one, other in zip(english, chinese, strict=True)])
    targets = np.concatenate([np.repeat(other, len(one)) for one, other in zip(english, chinese, strict=True)])
    sizes = np.concatenate([np.full(len(other), len(one)) for one, other in zip(english, chinese, strict=True)])
    seats = np.repeat(np.arange(len(sizes)), sizes)
    kinds, place = np.unique(sources * len(right) + targets, return_inverse=True)
    likely, count = np.ones(len(kinds)), np.ones(len(kinds))
    for _ in range(ROUNDS):
        part = likely[place]
        part /= np.bincount(seats, part)[seats]
        count = np.bincount(place, part)
        likely = count / np.bincount(kinds // len(right), count)[kinds // len(right)]
    names, meanings = list(left), list(right)
    lexicon: dict[str, list[tuple[str, float]]] = defaultdict(list)
    sure = (likely >= SURE) & (count >= SEEN)
    for kind, probability in zip(kinds[sure], likely[sure], strict=True):
        word, meaning = names[kind // len(right)], meanings[kind % len(right)]
        if word and meaning not in EMPTY_CHINESE:
            lexicon[word].append((meaning, float(probability)))
    return {word: sorted(found, key=lambda each: (-each[1], each[0]))[:4] for word, found in lexicon.items()}


def render(text: str, lexicon: Lexicon, chance: Random) -> str | None:
    """Put Chinese words in the place of a text's English ones; None where fewer than half are known."""
    words: list[str] = []
    content = 0
    for raw in filter(None, _WORD.split(text)):
        word = stem(raw.lower())
        if word in EMPTY_ENGLISH:
            if word in _SOMETIMES and chance.random() < 0.35:
                words.append(_SOMETIMES[word])
            continue
        content += 1
        known = [] if raw.isupper() and len(raw) > 1 and chance.random() < 0.85 else lexicon.get(word, [])
        chosen = chance.choices(*zip(*known, strict=True))[0] if known and chance.random() < 0.95 else raw
        if not words or words[-1] != chosen:
            words.append(chosen)
    chinese = sum(bool(_HAN.match(word)) for word in words)
    return _joined(words) if content >= 2 and chinese >= max(1.0, content / 2) else None


def english_words(text: str) -> list[str]:
    """Cut an English text into lower-case words without plural endings."""
    return [stem(word.lower()) for word in _WORD.split(text) if word.isalpha()]


def chinese_words(text: str) -> list[str]:
    """Cut a Chinese text into words with jieba; what is not Chinese is left out."""
    import jieba

    logging.getLogger("jieba").setLevel(logging.WARNING)
    return [word for word in jieba.lcut(text) if _HAN.match(word)]


def stem(word: str) -> str:
    """Take a plural's ending away."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]


def _numbered(texts: Iterable[Sequence[str]]) -> dict[str, int]:
    """Number the words of at least two texts, after the empty word, which stands for those without a counterpart."""
    counts = Counter(itertools.chain.from_iterable(map(dict.fromkeys, texts)))
    return {word: i for i, word in enumerate(["", *(word for word, count in counts.items() if count >= 2)])}


def _joined(words: Sequence[str]) -> str:
    text = ""
    for word in words:
        text += " " * bool(text and text[-1].isascii() and word[0].isascii()) + word
    return text
