"""Learn which English words a Chinese query's words stand for, and write them where `qvec.translation` reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.bundled_model.lexicon import EMPTY_CHINESE, EMPTY_ENGLISH, both_languages, learn
from benchmarks.bundled_model.places import REPO
from qvec.lexical import tokens

WORDS = REPO / "qvec" / "zh_en.tsv"
MOST = 2
SURE = 0.1
# Words of the question, not of what is asked for.
_ASKING = frozenset(["how", "what", "why", "do", "does", "did", "please"])


def build() -> None:
    """Write a line for each Chinese word with a meaning, or with none that must be cut off all the same."""
    lexicon = learn((chinese, _meant(english)) for english, chinese in both_languages())
    lines = {word: " ".join(readings(found)) for word, found in lexicon.items()}
    lines |= dict.fromkeys(EMPTY_CHINESE, "")
    WORDS.write_text("".join(f"{word}\t{lines[word]}\n" for word in sorted(lines)), encoding="utf-8")
    print(f"{len(lines)} words, {WORDS.stat().st_size} bytes")


def readings(found: Sequence[tuple[str, float]]) -> list[str]:
    """Choose a word's likeliest readings; forms that are one keyword (``read``, ``reading``) count together."""
    likely: dict[str, float] = defaultdict(float)
    shown: dict[str, str] = {}
    for word, probability in found:
        stem = tokens(word)[0]
        shown.setdefault(stem, word)
        likely[stem] += probability
    best = sorted(likely, key=lambda stem: -likely[stem])[:MOST]
    return [shown[stem] for stem in best if likely[stem] >= SURE]


def _meant(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in EMPTY_ENGLISH and word not in _ASKING]
