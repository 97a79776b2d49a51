"""``qvec eval``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    rows = {
        "corpus.jsonl": [{"id": "net/retry.py", "text": "call with retries"}, {"id": "b", "text": "something else"}],
        "queries.jsonl": [{"id": "q", "text": "retries"}],
        "qrels.jsonl": [{"query_id": "q", "doc_id": "net/retry.py", "score": 1}],
    }
    for name, lines in rows.items():
        (folder / name).write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


def test_a_table_has_a_line_a_mode(qvec, judged):
    result = qvec("eval", judged, "-k", "1", "-k", "2")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "tiny: 1 queries, 2 documents"
    assert lines[1].split()[:4] == ["mode", "recall@1", "ndcg@1", "mrr@1"]
    assert [line.split()[0] for line in lines[2:5]] == ["dense", "lexical", "hybrid"]
    assert lines[3].split()[1:7] == ["1.0000"] * 6
    assert lines[5:] == ["", "Hybrid adds +0.0000 to dense and +0.0000 to lexical in ndcg@2 at 256 dims."]


def test_json_has_a_row_for_each_backend_dim_and_mode(qvec, judged):
    words = ["eval", judged, "--json", "--backend", "memory", "--backend", "faiss", "--dim", "32", "--dim", "64"]
    found = json.loads(qvec(*words, "--mode", "dense").stdout)
    assert [(row["backend"], row["dim"]) for row in found["rows"]] == [
        ("memory", 32), ("faiss", 32), ("memory", 64), ("faiss", 64),
    ]  # fmt: skip
    assert set(found["rows"][0]["figures"]) == {"recall@10", "ndcg@10", "mrr@10"}
    assert [each.split(" dims")[0].rpartition(" ")[2] for each in found["conclusions"]] == ["32", "32"]
    assert json.loads(qvec("collections", "--json").stdout)["collections"] == []


def test_a_collection_that_is_there_is_asked_and_not_written_to(indexed, judged):
    before = indexed("collections").stdout
    found = json.loads(indexed("eval", judged, "--collection", "my_project", "--mode", "lexical", "--json").stdout)
    assert found["rows"][0]["figures"]["recall@10"] == 1.0
    assert indexed("collections").stdout == before


@pytest.mark.parametrize(("kind", "beginning"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_picture_is_drawn(qvec, judged, tmp_path, kind, beginning):
    pytest.importorskip("matplotlib")
    result = qvec("eval", judged, "--plot", tmp_path / f"figures.{kind}")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / f"figures.{kind}").read_bytes().startswith(beginning)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--plot", "x.pdf"], 1, ".png or .svg"),
        (["--collection", "x", "--backend", "a", "--backend", "b"], 2, "one database"),
        (["--collection", "x", "--dim", "1", "--dim", "2"], 2, "one dim"),
        (["--collection", "nowhere"], 1, "nowhere"),
        (["-k", "0"], 2, "0"),
    ],
)
def test_wrong_usage_says_so(qvec, judged, words, code, message):
    result = qvec("eval", judged, *words)
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr


def test_a_folder_without_the_files_is_an_error(qvec, tmp_path):
    result = qvec("eval", tmp_path)
    assert result.exit_code == 1
    assert "queries.jsonl" in result.stderr
