"""``qvec tune``."""

from __future__ import annotations

import json
from pathlib import Path


def test_the_table_ends_with_a_recommendation(indexed):
    result = indexed("tune", "my_project")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["ef", "recall@10", "worst", "p50", "ms", "p95", "ms"]
    assert lines[1].split()[:2] == ["default", "1.0000"]
    assert lines[-1].startswith("keep the default: every hit is found")


def test_json_has_the_rows_and_nothing_is_written(indexed):
    found = json.loads(indexed("tune", "my_project", "--value", "20", "--sample", "2", "-k", "3", "--json").stdout)
    assert [row["ef"] for row in found["rows"]] == [None, 20]
    assert (found["collection"], found["k"], found["queries"], found["applied"]) == ("my_project", 3, 2, None)
    assert not Path(".qvec/tuned.json").exists()


def test_apply_writes_the_choice_and_forgets_one_that_is_of_no_use(indexed):
    Path(".qvec/tuned.json").write_text(
        json.dumps({f"faiss:{Path('.qvec/faiss').absolute()}": {"my_project": {"ef": 77}, "other": {"ef": 5}}})
    )
    result = indexed("tune", "my_project", "--apply")
    assert result.exit_code == 0
    assert "tuned.json" in result.stdout.splitlines()[-1]
    (kept,) = json.loads(Path(".qvec/tuned.json").read_text()).values()
    assert kept == {"other": {"ef": 5}}


def test_queries_come_from_a_file(indexed, tmp_path):
    (tmp_path / "queries.txt").write_text("retries\n\n读取CSV文件\n", encoding="utf-8")
    found = json.loads(indexed("tune", "my_project", "--queries", tmp_path / "queries.txt", "--json").stdout)
    assert found["queries"] == 2


def test_a_collection_that_is_not_there_is_an_error(indexed):
    result = indexed("tune", "nowhere")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
