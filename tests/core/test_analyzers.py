"""A collection cut into words by its database's own analyzer, from index to search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import qvec
from qvec.cli.app import cli
from qvec.errors import PassportMismatchError, UnsupportedError
from qvec.registry import embedded_uri

DOCS = [
    {"id": "running", "text": "he was running carefully through the fields"},
    {"id": "library", "text": "a quiet library"},
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return embedded_uri("pgvector", tmp_path_factory.mktemp("pg")).reveal()


def ids(hits: list[qvec.Hit]) -> list[str]:
    return [hit.id for hit in hits]


def test_the_words_are_the_analyzer_s_at_index_and_at_search(uri: str) -> None:
    qvec.index("forms", DOCS, backend=uri, model="hashing", analyzer="english")
    qvec.index("plain", DOCS, backend=uri, model="hashing")
    assert ids(qvec.search("forms", "careful", backend=uri, mode="lexical")) == ["running"]
    assert ids(qvec.search("plain", "careful", backend=uri, mode="lexical")) == []
    hybrid = qvec.search("forms", "runs", backend=uri, model="hashing", explain=True)
    assert {leg.name for leg in hybrid[0].legs} == {"dense", "lexical"}


def test_a_collection_keeps_its_analyzer_and_another_is_refused_by_name(uri: str) -> None:
    with qvec.connect(uri, model="hashing") as database:
        database.collection("kept", analyzer="english").index(DOCS)
        again = database.collection("kept")
        again.index([{"id": "more", "text": "they run"}])
        assert ids(again.search("running", mode="lexical")) == ["more", "running"]
        assert again.describe().analyzer == "english"
        again.clear()
        assert again.describe().analyzer == "english"
        for call in (
            lambda other: other.index(DOCS),
            lambda other: other.create(),
            lambda other: other.search("run", mode="lexical"),
        ):
            with pytest.raises(PassportMismatchError, match=r"'kept'.*'english'.*'german'"):
                call(database.collection("kept", analyzer="german"))


def test_a_collection_of_qvec_s_own_tokens_takes_no_analyzer_later(uri: str) -> None:
    with qvec.connect(uri, model="hashing") as database:
        database.collection("own").index(DOCS)
        with pytest.raises(PassportMismatchError, match=r"qvec's own keyword tokens.*'english'"):
            database.collection("own", analyzer="english").index(DOCS)


@pytest.mark.parametrize("backend", ["memory", "faiss"])
def test_a_database_without_analyzers_says_so(backend: str, tmp_path: Path) -> None:
    address = "memory://" if backend == "memory" else embedded_uri(backend, tmp_path).reveal()
    with qvec.connect(address, model="hashing") as database:
        with pytest.raises(UnsupportedError, match="has qvec's own keyword tokens and no analyzer 'english'"):
            database.collection("books", analyzer="english").index(DOCS)
        assert database.collections() == []


def test_the_command_line_names_an_analyzer(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "docs.jsonl"
    file.write_text("\n".join(json.dumps(doc) for doc in DOCS))
    monkeypatch.setenv("QVEC_MODEL", "hashing")
    monkeypatch.chdir(tmp_path)
    common = ["--collection", "cli", "--backend", uri]
    made = CliRunner().invoke(cli, ["index", str(file), "--analyzer", "english", *common])
    assert made.exit_code == 0, made.output
    other = CliRunner().invoke(cli, ["index", str(file), "--analyzer", "englsh", "--collection", "new", *common[2:]])
    assert other.exit_code == 1
    assert "did you mean english" in other.output
