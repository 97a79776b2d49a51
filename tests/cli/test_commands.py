"""The smaller commands: collections, describe, delete, doctor, completion."""

from __future__ import annotations

import json

import pytest

from qvec.cli.app import COMMANDS


def test_collections_tells_size_and_model(indexed):
    assert "hashing, 256 dimensions" in indexed("collections").stdout
    found = json.loads(indexed("collections", "--json").stdout)["collections"]
    assert found == [{"name": "my_project", "count": 4, "dim": 256, "metric": "cosine", "model": "hashing"}]


def test_no_collections_is_no_failure(qvec):
    result = qvec("collections")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no collections\n")


def test_describe_shows_the_passport(indexed):
    found = json.loads(indexed("describe", "my_project", "--json").stdout)
    assert (found["count"], found["passport"]["model_id"]) == (4, "hashing")
    assert "model id" in indexed("describe", "my_project").stdout


def test_describing_what_is_not_there_is_an_error(qvec):
    result = qvec("describe", "nothing")
    assert result.exit_code == 1
    assert "nothing" in result.stderr


def test_documents_are_deleted_by_id_by_source_and_by_filter(indexed):
    assert "deleted 1 record" in indexed("delete", "my_project", "reader.py#read_csv", "unknown", "--yes").stdout
    assert "deleted 1 record" in indexed("delete", "my_project", "net/retry.py", "--yes").stdout
    assert "deleted 1 record" in indexed("delete", "my_project", "--where", "language = 'markdown'", "--yes").stdout
    assert json.loads(indexed("describe", "my_project", "--json").stdout)["count"] == 1


def test_a_whole_collection_is_deleted_without_ids(indexed):
    result = indexed("delete", "my_project", "--yes", "--json")
    assert json.loads(result.stdout) == {"collection": "my_project", "dropped": True, "deleted": 4, "dry_run": False}
    assert json.loads(indexed("collections", "--json").stdout) == {"collections": []}


@pytest.mark.parametrize("what", [(), ("reader.py#read_csv",), ("--where", "language = 'markdown'")])
def test_dry_run_deletes_nothing(indexed, what):
    result = indexed("delete", "my_project", *what, "--dry-run")
    assert result.stdout.startswith("would delete")
    assert json.loads(indexed("describe", "my_project", "--json").stdout)["count"] == 4


def test_delete_does_not_act_unasked(indexed):
    result = indexed("delete", "my_project", input="")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert json.loads(indexed("describe", "my_project", "--json").stdout)["count"] == 4


def test_ids_and_a_filter_together_are_wrong_usage(indexed):
    assert indexed("delete", "my_project", "a", "--where", "x = 1", "--yes").exit_code == 2


def test_deleting_from_a_collection_that_is_not_there_is_an_error(qvec):
    assert qvec("delete", "nothing", "--yes").exit_code == 1


def test_doctor_tells_versions_backends_device_and_files_and_makes_nothing(qvec, workplace):
    (workplace / "qvec.toml").write_text('dim = 64\nmodel = "hashing"\n')
    found = json.loads(qvec("doctor", "--json").stdout)
    assert found["packages"]["qvec"]
    assert found["backends"]["faiss"].startswith("ready")
    assert found["device"]
    assert found["config_files"] == [str(workplace / "qvec.toml")]
    assert found["database"]["state"].startswith("not made yet")
    assert [path.name for path in workplace.iterdir()] == ["qvec.toml"]


def test_doctor_reaches_the_database_that_is_there(indexed):
    assert json.loads(indexed("doctor", "--json").stdout)["database"]["collections"] == ["my_project"]
    assert "my_project" in indexed("doctor").stdout


def test_doctor_tries_each_profile(qvec, workplace):
    (workplace / "qvec.toml").write_text('[profiles.here]\nuri = "memory:"\n[profiles.gone]\nuri = "${NOT_SET}"\n')
    profiles = json.loads(qvec("doctor", "--json").stdout)["profiles"]
    assert profiles["here"].endswith("reachable")
    assert "NOT_SET" in profiles["gone"]


def test_doctor_leaves_with_1_when_the_configuration_cannot_be_used(qvec, workplace):
    (workplace / "qvec.toml").write_text("nonsense = 1\n")
    result = qvec("doctor", "--json")
    assert result.exit_code == 1
    assert "nonsense" in json.loads(result.stdout)["database"]["error"]


@pytest.mark.parametrize("command", [["collections"], ["search", "x"], ["describe", "x"], ["delete", "x", "--yes"]])
def test_an_unknown_backend_offers_the_nearest_name(qvec, command):
    result = qvec(*command, "--backend", "pgvecter")
    assert result.exit_code == 1
    assert "did you mean pgvector?" in result.stderr


def test_a_password_is_never_printed(qvec, workplace):
    uri = "postgresql://me:hunter2@127.0.0.1:1/db?sslpassword=hunter2&connect_timeout=1"
    for command in (["collections"], ["doctor"], ["doctor", "--json"], ["search", "x"]):
        result = qvec(*command, "--backend", uri)
        assert result.exit_code == 1
        assert "hunter2" not in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(qvec, shell):
    assert "_QVEC_COMPLETE" in qvec("completion", shell).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(qvec, command):
    result = qvec(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    if command != "completion":
        assert "--json" in result.stdout
