"""``qvec index``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qvec.cli.sources import collection_name


def test_a_folder_is_indexed_under_its_own_name(qvec, project):
    result = qvec("index", project)
    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "my_project")
    assert "picture.png: binary" in result.stderr
    assert "ignored.log" not in result.stderr


def test_json_is_one_document_with_the_report_and_what_was_skipped(qvec, project):
    report = json.loads(qvec("index", project, "--json").stdout)
    assert report["collection"] == "my_project"
    assert report["added"] == 4
    assert report["failed"] == {}
    assert [item["path"] for item in report["skipped"]] == ["picture.png"]


def test_a_second_run_writes_nothing(indexed, project):
    report = json.loads(indexed("index", project, "--json").stdout)
    assert (report["added"], report["updated"], report["deleted"], report["embedded"]) == (0, 0, 0, 0)
    assert report["unchanged"] == 4


def test_prune_deletes_what_is_gone_and_the_default_keeps_it(indexed, project):
    (project / "reader.py").unlink()
    assert json.loads(indexed("index", project, "--json").stdout)["deleted"] == 0
    assert json.loads(indexed("index", project, "--json", "--prune").stdout)["deleted"] == 1


def test_dry_run_opens_no_database(qvec, project, workplace):
    result = qvec("index", project, "--dry-run")
    assert "4 documents" in result.stdout
    assert "nothing was written" in result.stdout
    assert list(workplace.iterdir()) == []


def test_dry_run_in_json_counts_languages(qvec, project):
    report = json.loads(qvec("index", project, "--dry-run", "--json").stdout)
    assert report["languages"] == {"python": 2, "markdown": 1, "other": 1}


def test_exclude_leaves_out(qvec, project):
    report = json.loads(qvec("index", project, "--dry-run", "--json", "--exclude", "net/", "--exclude", "*.md").stdout)
    assert report["languages"] == {"python": 1, "other": 1}


def test_json_lines_are_documents(qvec, tmp_path):
    lines = [
        {"id": "a", "text": 'O\'Brien "quoted" 🎈', "metadata": {"year": 2019}},
        {"id": "b", "text": "a second one", "year": 1987},
    ]
    file = tmp_path / "books.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + '\n\nnot json\n42\n"a bare text"\n{"id": "c"}\n')
    report = json.loads(qvec("index", file, "--json").stdout)
    assert (report["collection"], report["added"]) == ("books", 3)
    assert [item["path"] for item in report["skipped"]] == ["books.jsonl:4", "books.jsonl:5"]
    assert list(report["failed"]) == ["c"]
    hits = json.loads(qvec("search", "second", "--where", "year < 2000", "--json").stdout)["hits"]
    assert [hit["id"] for hit in hits] == ["b"]


def test_json_lines_come_from_stdin_too(qvec):
    result = qvec("index", "-", "--collection", "notes", "--json", input='{"id": "1", "text": "words"}\n')
    assert json.loads(result.stdout)["added"] == 1


def test_stdin_without_a_collection_is_wrong_usage(qvec):
    result = qvec("index", "-", input="")
    assert result.exit_code == 2
    assert "--collection" in result.stderr


@pytest.mark.parametrize("name", ["a-b", "1st", "", "x" * 49, "数"])
def test_a_collection_that_no_database_could_hold_is_refused(qvec, project, name):
    result = qvec("index", project, "--collection", name)
    assert result.exit_code == 1
    assert "cannot name a collection" in result.stderr


def test_a_missing_path_is_an_error_without_traceback(qvec):
    result = qvec("index", "nowhere")
    assert (result.exit_code, result.stderr) == (1, "qvec: 'nowhere' does not exist\n")


def test_another_model_on_the_same_collection_is_an_error_that_names_both(indexed, project):
    result = indexed("index", project, "--model", "hashing", "--dim", "64")
    assert result.exit_code == 1
    assert "256" in result.stderr
    assert "64" in result.stderr


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my-project", "my_project"), ("python3.11", "python3_11"), ("3d", "_3d"), ("__a__", "a"), ("x" * 60, "x" * 48)],
)
def test_a_collection_s_name_is_made_of_the_folder_s(tmp_path, folder, name):
    assert collection_name(tmp_path / folder) == name


def test_folders_named_in_other_scripts_get_names_of_their_own(tmp_path):
    names = {collection_name(Path(tmp_path / folder)) for folder in ["数据", "文件", "数据-v2", "!!!"]}
    assert len(names) == 4


def test_long_documents_are_named_with_what_was_done_to_them(qvec, tmp_path):
    file = tmp_path / "books.jsonl"
    text = "many words in a long book " * 4000
    file.write_text(json.dumps({"id": "a", "text": text}) + "\n" + json.dumps({"id": "b", "text": "short"}) + "\n")
    result = qvec("index", file, "--model", "bundled", "--long-text", "pool")
    assert "a: 24,001 tokens, window 8,192: embedded as the mean of 4 pieces, stored whole" in result.stderr
    assert "b:" not in result.stderr
    refused = qvec("index", file, "--model", "bundled", "--long-text", "truncate")
    assert (refused.exit_code, "keeps long_text='pool'" in refused.stderr) == (1, True)
    options = ["--collection", "other", "--model", "bundled", "--long-text", "truncate", "--json"]
    report = json.loads(qvec("index", file, *options).stdout)
    assert report["long"]["a"] == {"policy": "truncate", "tokens": 24001, "limit": 8192, "pieces": 1, "kept": 8192}
    assert report["hit_rate"] == 0
