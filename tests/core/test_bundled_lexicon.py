"""English docstrings become rough Chinese queries by a lexicon that is learnt from aligned texts."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.bundled_model import places
from benchmarks.bundled_model.forbidden import load_forbidden, text_key
from benchmarks.bundled_model.lexicon import english_words, learn, render

ALIGNED = [
    ("Read the file", ["读取", "文件"]),
    ("Write a file", ["写入", "文件"]),
    ("Read a table", ["读取", "表格"]),
    ("Write the table", ["写入", "表格"]),
    ("Deletes files", ["删除", "文件"]),
    ("Delete tables", ["删除", "表格"]),
    ("The cities", ["城市"]),
    ("A city", ["城市"]),
]


@pytest.fixture(scope="module")
def lexicon():
    return learn([(english_words(english), chinese) for english, chinese in ALIGNED * 4])


def test_words_that_stand_together_in_both_languages_are_each_others_renderings(lexicon):
    best = {word: meanings[0][0] for word, meanings in lexicon.items()}
    expected = {"read": "读取", "write": "写入", "file": "文件", "table": "表格", "delete": "删除", "city": "城市"}
    assert {word: best[word] for word in expected} == expected


@pytest.mark.parametrize(
    ("english", "chinese"),
    [("Read the CSV file.", "读取CSV文件"), ("Deletes tables", "删除表格"), ("delete_file", "删除文件")],
)
def test_a_summary_is_rendered_word_by_word_and_acronyms_stay(lexicon, english, chinese):
    assert chinese in {render(english, lexicon, Random(seed)) for seed in range(20)}


@pytest.mark.parametrize("english", ["Do something quite new", "file", "the of and", ""])
def test_a_summary_with_too_few_known_words_is_not_rendered(lexicon, english):
    assert render(english, lexicon, Random(1)) is None


def test_words_that_are_equally_likely_stand_in_one_order_whatever_the_process():
    pairs = [(["sort"], ["排序", "整理"]), (["sort"], ["整理", "排序"])]
    assert learn(pairs * 2) == learn(pairs[::-1] * 2)
    assert [word for word, _ in learn(pairs * 2)["sort"]] == ["排序", "整理"]


def test_the_same_seed_renders_the_same(lexicon):
    texts = ["Read files and write tables", "Write every table into the file"]
    first, second = ([render(text, lexicon, chance) for text in texts] for chance in (Random(5), Random(5)))
    assert first == second


@pytest.mark.slow
def test_the_rendered_queries_of_the_last_training_hold_none_that_is_asked():
    path = places.cache() / "rendered.jsonl.gz"
    if not path.exists() or not places.shared_data().is_dir():
        pytest.skip("the model was not trained on this machine: python -m benchmarks.bundled_model fetch pairs")
    asked = load_forbidden().texts
    assert not [row["q"] for row in places.read_rows(path) if text_key(row["q"]) in asked]
