"""No training pair of the bundled model repeats an evaluation query, its document's description or its code."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.bundled_model import places
from benchmarks.bundled_model.forbidden import Forbidden, code_key, code_lines, load_forbidden, text_key
from benchmarks.bundled_model.pairs import admitted, aligned

SETS = (
    "cosqa",
    "pyhow_zh",
    "pyapi_zh",
    "hutool_zh",
    "zh_pydoc",
    "tldr",
    "mbpp_zh",
    "lancet_go",
    "odex",
    "pyfaq",
    "mconala",
    "nl2bash",
    "humaneval_ml",
    "xeutils_js",
    "paddle_api_zh",
)


def rows(path: Path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def folded(text: str) -> str:
    """Letters and digits alone, written apart from the program under test."""
    return re.sub(r"[^0-9a-z\u0080-\U0010ffff]|[、-〿！-／：-＠]", "", unicodedata.normalize("NFKC", text).lower())


def bare(code: str) -> str:
    without = re.sub(r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|/\*[\s\S]*?\*/|//[^\n]*|#[^\n]*', "", code)
    return hashlib.md5(re.sub(r"\s", "", without).encode()).hexdigest()


@pytest.fixture(scope="module")
def forbidden() -> Forbidden:
    if not places.shared_data().is_dir():
        pytest.skip("the retrieval sets are not there: set QVEC_SHARED_DATA to their folder")
    return load_forbidden()


@pytest.fixture(scope="module")
def evaluation(forbidden):
    texts, codes = set(), set()
    for name in SETS:
        texts.update(folded(row["text"]) for row in rows(places.shared_data() / name / "queries.jsonl.gz"))
        for row in rows(places.shared_data() / name / "corpus.jsonl.gz"):
            codes.add(bare(row.get("text_nodoc") or row["text"]))
    return texts - {""}, codes - {bare("")}  # nothing is left of code that is all comment or string


def check(pairs, evaluation):
    texts, codes = evaluation
    for row in pairs:
        assert folded(row["q"]) not in texts, row["q"]
        assert folded(row.get("d", "")) not in texts, row["d"]
        if len(row.get("c", "")) > 100:
            assert bare(row["c"]) not in codes, row["c"]


def test_the_aligned_texts_that_are_trained_on_hold_nothing_that_is_asked_for(forbidden, evaluation):
    dropped: Counter[str] = Counter()
    check(admitted(itertools.islice(aligned(), 0, None, 5), forbidden, dropped), evaluation)
    assert dropped["zh_en"] > 400


@pytest.mark.slow
def test_the_pairs_of_the_last_training_hold_nothing_that_is_asked_for(evaluation):
    path = places.cache() / "pairs.jsonl.gz"
    if not path.exists():
        pytest.skip("the model was not trained on this machine: python -m benchmarks.bundled_model fetch pairs")
    check(places.read_rows(path), evaluation)


def test_lines_cut_out_of_an_evaluation_document_are_seen(forbidden):
    code = "rows = list(csv.reader(file))\nwriter.writerows(sorted(rows))"
    document = f"def f(file, writer):\n    {code}\n    return 1"
    known = Forbidden(frozenset(), frozenset(), frozenset(code_lines(document)))
    said = {"task": "en_lines", "q": "sort the rows", "c": code.replace("\n", "  # by name\n")}
    assert known.hits(said)
    assert not known.hits(said | {"c": code + "\nwriter.writerow(['the end of it'])"})
    assert not known.hits(said | {"task": "en_code"})
    assert len(forbidden.lines) > 100_000


@pytest.mark.parametrize(
    "copy",
    [
        {"q": "PARSE, a json   string!!"},
        {"q": "x", "d": "Ｐarse a JSON string"},
        {"q": "Parse a JSON string. Then return it."},
        {"q": "other words", "c": "def f( a ):  # same\n  '''New.'''\n  return json.loads(a)['key']['other']['third']"},
    ],
)
def test_a_copy_is_seen_through_case_width_spacing_and_comments(copy):
    code = "def f(a):\n    return json.loads(a)['key']['other']['third']"
    known = Forbidden(frozenset({text_key("parse a JSON string")}), frozenset({str(code_key(code))}))
    assert known.hits(copy)
    assert not known.hits(
        {"q": "parse a YAML string", "c": "def g(b):\n    return yaml.safe_load(b)['one']['two']['three']"}
    )
