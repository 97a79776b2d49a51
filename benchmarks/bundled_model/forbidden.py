"""What no training pair may contain: evaluation queries, their documents' own descriptions, their code."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.bundled_model.places import Row, read_rows, shared_data

MIN_CODE = 40
MIN_LINE = 12
PARTS_OF_CODE = ("zh_lines", "en_lines")
_QUOTED = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)
_COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*|#[^\n]*", re.DOTALL)
_NEITHER = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s*|\n\s*\n|\n\s*[:@]")


def text_key(text: str) -> str:
    """Fold a text to its letters and digits, so that case, width, spacing and punctuation do not hide a copy."""
    return _NEITHER.sub("", unicodedata.normalize("NFKC", text).lower())


def code_key(code: str) -> str | None:
    """Hash code without its docstrings, comments and spacing; None where too little is left to tell copies apart."""
    bare = re.sub(r"\s+", "", _COMMENTS.sub("", _QUOTED.sub("", code)))
    return hashlib.md5(bare.encode()).hexdigest() if len(bare) >= MIN_CODE else None


def code_lines(code: str) -> list[str]:
    """Take code's lines without comments and spacing; those that any program may hold are left out."""
    lines = _COMMENTS.sub("", _QUOTED.sub("", code)).split("\n")
    bare = (re.sub(r"\s+", "", line) for line in lines)
    return [line for line in bare if len(line) >= MIN_LINE]


def first_sentence(text: str) -> str:
    """Take a description's first sentence, line breaks within it made spaces."""
    return " ".join(_SENTENCE_END.split(text.strip(), maxsplit=1)[0].split())


def descriptions(code: str) -> Iterator[str]:
    """Find the docstrings in a piece of code, whole and by first sentence."""
    for match in _QUOTED.finditer(code):
        yield match.group(2)
        yield first_sentence(match.group(2))


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Remember every evaluation text and piece of code, and the pieces' lines."""

    texts: frozenset[str]
    codes: frozenset[str]
    lines: frozenset[str] = frozenset()

    def hits(self, row: Row) -> bool:
        """Tell whether a training pair repeats something from an evaluation set."""
        texts = [row["q"], row.get("d", ""), row.get("doc", ""), *map(first_sentence, (row["q"], row.get("d", "")))]
        texts += [line for line in row["q"].split("\n") if line]
        if any(text_key(text) in self.texts for text in texts if text):
            return True
        key = code_key(row["c"]) if row.get("c") else None
        if key is not None and key in self.codes:
            return True
        return row.get("task") in PARTS_OF_CODE and self._holds(row["c"])

    def _holds(self, code: str) -> bool:
        """Tell whether lines may have been cut out of an evaluation document: each of them stands in some."""
        lines = code_lines(code)
        return bool(lines) and all(line in self.lines for line in lines)


def load_forbidden() -> Forbidden:
    """Collect the texts and code of every evaluation set under the shared data."""
    texts: set[str] = set()
    codes: set[str] = set()
    lines: set[str] = set()
    for folder in sorted(shared_data().iterdir()):
        if not (folder / "queries.jsonl.gz").exists():
            continue
        for row in read_rows(folder / "queries.jsonl.gz"):
            texts.add(text_key(row["text"]))
        for row in read_rows(folder / "corpus.jsonl.gz"):
            for text in (row["text"], row.get("text_nodoc", "")):
                key = code_key(text)
                if key:
                    codes.add(key)
                    lines.update(code_lines(text))
                texts.update(map(text_key, descriptions(text)))
            if folder.name in ("pyapi_zh", "pyhow_zh"):
                paragraph = row["text"].partition("\n")[2]
                texts.update((text_key(paragraph), text_key(first_sentence(paragraph))))
            if folder.name == "pyfaq":
                texts.add(text_key(row["text"]))
    return Forbidden(frozenset(texts - {""}), frozenset(codes), frozenset(lines))
