"""Reading judged sets, and measuring collections with them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from qvec.database import Database, connect
from qvec.errors import ConfigError, InvalidInputError, MissingDriverError
from qvec.evaluation.grid import evaluate, evaluate_collection
from qvec.evaluation.plot import check_picture, draw
from qvec.evaluation.sets import read_set
from qvec.registry import embedded_uri

CORPUS = [
    ("d1", "Apples", "a red fruit that grows on trees"),
    ("d2", "Bicycles", "two wheels and a chain"),
    ("d3", "", "the chain of command in an army"),
]
QUERIES = [
    ("q1", "red fruit", "test"),
    ("q2", "bicycles chain", "test"),
    ("q3", "nothing", "train"),
    ("q4", "army", "train"),
]
QRELS = [("q1", "d1", 1), ("q2", "d2", 2), ("q2", "d3", 1), ("q3", "d1", 0), ("q4", "d3", 1)]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    write(
        folder / "corpus.jsonl", [{"_id": i, "title": title, "text": text, "metadata": {}} for i, title, text in CORPUS]
    )
    write(folder / "queries.jsonl", [{"_id": i, "text": text} for i, text, _ in QUERIES])
    (folder / "qrels").mkdir()
    lines = [f"{query}\t{document}\t{grade}\n" for query, document, grade in QRELS]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines[:4]))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines[4])
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    write(folder / "corpus.jsonl.gz", [{"id": i, "title": title, "text": text} for i, title, text in CORPUS])
    write(folder / "queries.jsonl.gz", [{"id": i, "text": text, "split": split} for i, text, split in QUERIES])
    write(folder / "qrels.jsonl.gz", [{"query_id": q, "doc_id": d, "score": grade} for q, d, grade in QRELS])
    return folder


def test_beir_s_files_are_read_and_its_test_split_taken(beir):
    judged = read_set(beir)
    assert (judged.name, dict(judged.queries)) == ("beir", {"q1": "red fruit", "q2": "bicycles chain"})
    assert judged.qrels["q2"] == {"d2": 2, "d3": 1}
    documents = list(judged.corpus())
    assert [document.id for document in documents] == ["d1", "d2", "d3"]
    assert documents[0].searchable_text == "Apples\na red fruit that grows on trees"
    assert documents[2].metadata == {}
    assert dict(read_set(beir, split="train").queries) == {"q4": "army"}


def test_the_other_form_gives_the_same(beir, ours):
    assert list(read_set(ours).queries) == ["q1", "q2", "q4"]
    found, expected = read_set(ours, split="test"), read_set(beir)
    assert (found.queries, found.qrels) == (expected.queries, expected.qrels)
    assert list(found.corpus()) == list(expected.corpus())


def test_trec_s_four_columns_are_read(beir):
    (beir / "qrels" / "test.tsv").write_text("q1\t0\td1\t1\n")
    assert read_set(beir).qrels == {"q1": {"d1": 1}}


def test_a_sample_is_the_same_for_the_same_seed(ours):
    judged = read_set(ours)
    assert judged.sample(2, seed=1) == judged.sample(2, seed=1)
    assert len(judged.sample(2, seed=1).queries) == len(judged.sample(2, seed=1).qrels) == 2
    assert judged.sample(9, seed=1) is judged


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("queries.jsonl", "{", "line 1 is no JSON"),
        ("queries.jsonl", "[]", "line 1 is no JSON object"),
        ("queries.jsonl", '{"_id": 7, "text": "x"}', "id is 7, not a string"),
        ("queries.jsonl", '{"_id": "zzz", "text": "x"}', "judges no query"),
        ("queries.jsonl", "\udcff", "cannot be read"),
        ("qrels/test.tsv", "q1\td1\tyes\n", "line 1: takes"),
        ("qrels/test.tsv", "q1 d1 1\n", "line 1: takes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(beir, name, content, message):
    (beir / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        read_set(beir)


def test_a_missing_file_or_split_is_named(beir):
    with pytest.raises(ConfigError, match="test, train: choose"):
        read_set(beir, split="dev")
    (beir / "corpus.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"no corpus\.jsonl"):
        list(read_set(beir).corpus())
    (beir / "queries.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"no queries\.jsonl"):
        read_set(beir)


def test_each_combination_is_a_row_and_nothing_is_left_behind(beir, backend, embedded_folder):
    try:
        uri = embedded_uri(backend, embedded_folder).reveal()
    except MissingDriverError as exc:
        pytest.skip(str(exc))
    rows = list(evaluate(read_set(beir), backends=[uri], models=["hashing"], dims=[64, 128], ks=[1, 3]))
    assert [(row.dim, row.mode) for row in rows] == [
        (dim, mode) for dim in (64, 128) for mode in ("dense", "lexical", "hybrid")
    ]
    assert {(row.set, row.backend, row.model, row.documents, row.queries) for row in rows} == {
        ("beir", uri, "hashing", 3, 2)
    }
    lexical = rows[1].figures
    assert (lexical["recall@3"], lexical["ndcg@3"], lexical["mrr@1"]) == (1.0, 1.0, 1.0)
    assert lexical["recall@1"] == 0.75
    with pytest.raises(InvalidInputError, match="numbers from 1"):
        list(evaluate(read_set(beir), models=["hashing"], ks=[0]))


def test_a_row_shows_no_password(beir):
    with connect("memory://", model="hashing") as database:
        collection = database.collection("c")
        collection.index(read_set(beir).corpus())
        [row] = evaluate_collection(
            collection, read_set(beir), backend="postgresql://me:hunter2@host/db", modes=["dense"]
        )
    assert row.backend == "postgresql://me:***@host/db"


def test_nothing_is_left_behind_after_an_error(beir, database: Database):
    collection = database.collection("left")
    collection.index(["a"])
    before = database.collections()
    with pytest.raises(InvalidInputError):
        list(evaluate_collection(collection, read_set(beir), ks=[]))
    assert database.collections() == before


def test_parts_count_as_their_document(beir, database: Database):
    words = "a red fruit " * 6
    collection = database.collection("parts")
    collection.index(
        [{"id": f"d1#{part}", "source": "d1", "text": words} for part in range(5)]
        + [{"id": "d2", "text": "a red chain"}]
    )
    (row,) = evaluate_collection(collection, read_set(beir), modes=["lexical"], ks=[2])
    assert (row.documents, row.figures["recall@2"]) == (6, 0.75)


@pytest.mark.parametrize(("dims", "suffix"), [([64, 128], ".svg"), ([64], ".png")])
def test_a_picture_is_drawn(beir, tmp_path, dims, suffix):
    pytest.importorskip("matplotlib")
    rows = list(evaluate(read_set(beir), models=["hashing"], dims=dims))
    path = tmp_path / f"figures{suffix}"
    check_picture(path)
    draw(rows, "ndcg@10", path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == ".png" else b"<svg" in content
    with pytest.raises(InvalidInputError, match="was not measured"):
        draw(rows, "ndcg@3", path)


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        check_picture(tmp_path / "x.pdf")
    with pytest.raises(ConfigError, match="make it first"):
        check_picture(tmp_path / "missing" / "x.svg")
