"""``qvec bench embed`` measures, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.models import write_bert, write_qwen3

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"), pooling="mean")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.txt"
    file.write_text("read a file\n\nwrite the code\nb\n" + "a b c " * 5 + "\n", encoding="utf-8")
    return file


def test_a_report_tells_speed_share_of_the_peak_padding_and_stages(qvec, tmp_path):
    folder = write_qwen3(tmp_path / "qwen3")
    arguments = [
        "--n",
        "6",
        "--mean-tokens",
        "20",
        "--most-tokens",
        "40",
        "--device",
        "cpu",
        "--no-compare",
        "--dtype",
        "float32",
        "--json",
    ]
    report = json.loads(qvec("bench", "embed", "--model", folder, *arguments).stdout)
    (run,) = report["runs"]
    assert (run["name"], run["texts"], run["padding"]) == ("qvec", 6, 0)
    assert run["tokens"] == pytest.approx(run["tokens_per_second"] * run["seconds"])
    assert run["texts_per_second"] > 0
    assert 0 < run["mfu"] < 1.5
    assert set(run["stages"]) == {"tokenize", "forward", "copy"}
    assert (report["device"], report["dtype"], report["peak_from"]) == ("cpu", "float32", "measured")


def test_the_texts_of_a_file_are_measured_against_sentence_transformers(qvec, bert, texts):
    pytest.importorskip("sentence_transformers")
    done = qvec("bench", "embed", "--model", bert, "--texts", texts, "--device", "cpu", "--peak", "1", "--json")
    report = json.loads(done.stdout)
    assert [run["texts"] for run in report["runs"]] == [4] * 4
    assert "sentence-transformers, batches of 32" in {run["name"] for run in report["runs"]}
    assert all(0 < run["padding"] < 1 for run in report["runs"])
    assert (report["peak_tflops"], report["peak_from"]) == (1, "given")


def test_a_report_for_people_names_model_device_and_speed(qvec, bert, texts):
    done = qvec("bench", "embed", "--model", bert, "--texts", texts, "--device", "cpu", "--no-compare")
    assert str(bert) in done.stdout
    assert "tokens/s" in done.stdout
    assert "tokenize" in done.stdout


def test_a_file_without_texts_is_an_error(qvec, bert, tmp_path):
    (tmp_path / "none.txt").write_text("\n\n")
    done = qvec("bench", "embed", "--model", bert, "--texts", tmp_path / "none.txt")
    assert done.exit_code == 1
    assert "one text a line" in done.stderr
