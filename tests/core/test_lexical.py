"""Keyword tokens by golden values, and BM25's numbers against the formula."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvec.lexical import idf, query_terms, term_frequencies, term_score, tokens

GOLDEN = {
    "": [],
    "  \n\t .,;!? 🚀": [],
    "Hello, world!": ["hello", "world"],
    "readCsvFile": ["readcsvfil", "read", "csv", "file"],
    "read_csv_files": ["read_csv_files", "read", "csv", "file"],
    "HTTPServer": ["httpserver", "http", "server"],
    "sha256": ["sha256", "sha", "256"],
    "SHA-256": ["sha", "256"],
    "__init__": ["init"],
    "_": [],
    "MAX_VALUE": ["max_value", "max", "valu"],
    "x": ["x"],
    "3.14": ["3", "14"],
    "2024": ["2024"],
    "读取文件": ["读取", "取文", "文件"],
    "读": ["读"],
    "读取CSV文件": ["读取", "csv", "文件"],
    "用pandas读取": ["用", "panda", "读取"],
    "ファイルを読む": ["ファ", "ァイ", "イル", "ルを", "を読", "読む"],
    "파일": ["파일"],
    "𠮷野家": ["𠮷野", "野家"],
    "Le café naïve": ["le", "cafe", "naiv"],
    "ÅNGSTRÖM": ["angstrom"],
    "ﬁle ＡＢＣ": ["file", "abc"],
    "straße STRASSE": ["strass", "strass"],
    "קובץ טקסט": ["קובץ", "טקסט"],
    "ملف القرص": ["ملف", "القرص"],
    "Привет файл2": ["привет", "фаил2", "фаил", "2"],
    "it's": ["it", "s"],
    "a.b->c::d": ["a", "b", "c", "d"],
}
ENDINGS = {
    "files": "file",
    "queries": "query",
    "boxes": "box",
    "classes": "class",
    "matches": "match",
    "hashes": "hash",
    "indexes": "index",
    "caches": "cach",
    "databases": "databas",
    "class": "class",
    "status": "status",
    "bus": "bus",
    "this": "thi",
    "is": "is",
    "gas": "gas",
    "movies": "movy",
    "reading": "read",
    "parsed": "pars",
    "parse": "pars",
    "running": "run",
    "added": "add",
    "filing": "file",
    "coding": "code",
    "missing": "miss",
    "embedded": "emb",
    "embed": "emb",
    "string": "string",
    "speed": "speed",
    "used": "used",
    "thing": "thing",
}


@pytest.mark.parametrize("text", GOLDEN)
def test_a_text_is_cut_into_these_tokens(text: str):
    assert tokens(text) == GOLDEN[text]


@pytest.mark.parametrize("word", ENDINGS)
def test_english_endings_are_taken_off(word: str):
    assert tokens(word) == [ENDINGS[word]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("files", "file"),
        ("FILES", "Files"),
        ("queries", "query"),
        ("e\u0301te\u0301", "été"),
        ("Ａ１", "a1"),
        ("ﾌｧｲﾙ", "ファイル"),
    ],
)
def test_what_means_the_same_gives_the_same(one: str, other: str):
    assert tokens(one) == tokens(other)


def test_repeats_are_kept_in_documents_and_dropped_in_queries():
    assert tokens("b a b") == ["b", "a", "b"]
    assert query_terms("b a B bs") == ["b", "a", "bs"]
    assert term_frequencies("b a b 文件 文件") == {"b": 2, "a": 1, "文件": 2}


@given(st.text())
def test_any_text_can_be_cut(text: str):
    found = tokens(text)
    assert all(token and not any(mark in token for mark in " \t\n'\"%\\;") for token in found)
    assert sum(term_frequencies(text).values()) == len(found)
    assert query_terms(text) == list(dict.fromkeys(found))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_tokens_do_not_depend_on_how_the_text_is_composed(text: str):
    assert tokens(unicodedata.normalize("NFD", text)) == tokens(unicodedata.normalize("NFC", text))


@given(st.text(), st.text())
def test_a_line_break_parts_texts(one: str, other: str):
    assert tokens(f"{one}\n{other}") == tokens(one) + tokens(other)


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1))
def test_case_does_not_matter_to_a_plain_word(word: str):
    assert tokens(word.upper()) == tokens(word) == tokens(word.title())


def test_idf_is_lucenes():
    assert idf(10, 1) == pytest.approx(math.log(1 + 9.5 / 1.5))
    assert idf(10, 10) == pytest.approx(math.log(1 + 0.5 / 10.5))
    assert idf(0, 0) == pytest.approx(math.log(2))


def test_term_score_is_lucenes():
    assert term_score(2, 10, 10) == pytest.approx(2 / (2 + 1.2))
    assert term_score(1, 20, 10) == pytest.approx(1 / (1 + 1.2 * (0.25 + 0.75 * 2)))


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 1000))
def test_more_occurrences_score_higher_and_longer_documents_lower(frequency: int, length: int, average: int):
    assert term_score(frequency, length, average) < term_score(frequency + 1, length, average) < 1
    assert term_score(frequency, length + 1, average) < term_score(frequency, length, average)


@given(st.integers(1, 10_000), st.data())
def test_rarer_terms_weigh_more_and_none_less_than_zero(documents: int, data):
    containing = data.draw(st.integers(0, documents - 1))
    assert idf(documents, containing) > idf(documents, containing + 1) > 0
