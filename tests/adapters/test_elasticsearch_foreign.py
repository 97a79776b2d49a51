"""Elasticsearch: indexes that another program made, searched where they lie by their own analyzers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import qvec
from qvec.database import Database
from qvec.errors import CollectionNotFoundError, InvalidInputError, PassportMismatchError, UnsupportedError
from qvec.filters import matches
from qvec.layouts import FieldMap
from qvec.testing.base import exact_scores
from qvec.types import Metric
from qvec.where import parse
from tests.adapters.elasticsearch_node import elasticsearch_uri

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]

DIM = 8
COUNT = 400
WORDS = ["running", "runs", "library", "quiet", "fields", "读取文件", "写入数据库"]
FORM = FieldMap(id="_id", text="body", vector="embedding", table="theirs_{name}")
VECTORS = np.random.default_rng(3).normal(size=(COUNT, DIM)).astype(np.float32)
MAPPING = {
    "properties": {
        "body": {"type": "text", "analyzer": "english", "fields": {"pairs": {"type": "text", "analyzer": "cjk"}}},
        "embedding": {"type": "dense_vector", "dims": DIM, "similarity": "l2_norm"},
        "lang": {"type": "keyword"},
        "tags": {"type": "keyword"},
        "stars": {"type": "long"},
        "price": {"type": "float"},
        "day": {"type": "date"},
        "parts": {"type": "nested"},
    }
}


def row(number: int) -> dict[str, Any]:
    return {
        "body": f"{WORDS[number % 7]} and {WORDS[number * 3 % 5]} of number {number}",
        "embedding": VECTORS[number].tolist(),
        "lang": "zh" if number % 3 else "en",
        "tags": ["a", f"t{number % 4}"],
        "stars": [number, number + 0.5, str(number)][number % 3],
        "price": number / 7,
        "day": f"2024-{1 + number % 12:02}-01",
        "free": {"note": "x" * 300 if number % 5 == 0 else f"note {number % 5}", "flag": number % 2 == 0},
        "parts": [{"name": f"p{number % 2}"}],
    }


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Elasticsearch]]:
    uri = elasticsearch_uri()
    with qvec.connect(uri) as opened, opened.adapter._connection.use() as client:
        client.options(ignore_status=404).indices.delete(index="theirs_books,theirs_words")
        client.indices.create(index="theirs_books", mappings=MAPPING)
        lines: list[dict[str, Any]] = []
        for number in range(COUNT):
            lines += [{"index": {"_id": f"d{number:03}"}}, row(number)]
        client.bulk(operations=lines, index="theirs_books", refresh=True)
        client.indices.create(index="theirs_words", mappings={"properties": {"body": {"type": "keyword"}}})
        client.index(index="theirs_words", id="one", document={"body": "read_csv file"}, refresh=True)
        yield uri, client
        client.indices.delete(index="theirs_books,theirs_words")


@pytest.fixture(scope="module")
def database(server: tuple[str, Elasticsearch]) -> Iterator[Database]:
    with qvec.connect(server[0], layout=FORM, model="hashing", dim=DIM) as opened:
        yield opened


def test_keywords_are_those_of_the_field_s_own_analyzer(database: Database) -> None:
    books = database.collection("books")
    found = books.search("run", mode="lexical", k=500)
    wanted = [f"d{n:03}" for n in range(COUNT) if "run" in row(n)["body"]]
    assert sorted(hit.id for hit in found) == wanted
    assert found == sorted(found, key=lambda hit: (-hit.score, hit.id))
    assert found[0].text == row(int(found[0].id[1:]))["body"]
    assert books.search("the", mode="lexical") == []
    for start, size in ((0, 3), (3, 10), (100, 20)):
        assert books.search("run", mode="lexical", k=size, offset=start) == found[start : start + size]


def test_a_query_of_more_words_than_the_server_takes_is_refused_with_the_way_out(database: Database) -> None:
    words = " ".join("zq" + "".join(letters) for letters in product("abcdefghijklmnop", repeat=4))
    with pytest.raises(InvalidInputError, match="fewer words, or raise"):
        database.adapter.search_lexical("books", [words], k=3)


def test_another_field_beneath_the_text_can_be_named_for_keywords(server: tuple[str, Elasticsearch]) -> None:
    pairs = FieldMap(id="_id", text="body", keywords="body.pairs", table="theirs_{name}")
    with qvec.connect(server[0], layout=pairs) as database:
        found = database.adapter.search_lexical("books", ["取文"], k=500)[0]
        assert {hit.id for hit in found} == {f"d{n:03}" for n in range(COUNT) if "读取文件" in row(n)["body"]}
        with pytest.raises(UnsupportedError, match="names no vector field"):
            database.adapter.search_dense("books", VECTORS[:1], k=3)


def test_hybrid_search_has_both_legs(database: Database) -> None:
    hits = database.collection("books").search("running fields", vector=VECTORS[7], k=5, explain=True)
    assert hits[0].id == "d007" or {leg.name for leg in hits[0].legs} == {"dense", "lexical"}
    assert {leg.name for hit in hits for leg in hit.legs} == {"dense", "lexical"}


@pytest.mark.parametrize("where", [None, "stars >= 390", "lang = 'en'"])
def test_vectors_are_found_by_exact_scores(database: Database, where: str | None) -> None:
    condition = parse(where) if where else None
    [hits] = database.adapter.search_dense("books", VECTORS[5:6], k=20, filter=condition)
    documents = {document.id: document for batch in database.adapter.scan("books") for document in batch.documents}
    scores = exact_scores(Metric.L2, VECTORS, VECTORS[5])
    kept = [n for n in range(COUNT) if condition is None or matches(condition, documents[f"d{n:03}"].metadata)]
    wanted = sorted(kept, key=lambda n: -scores[n])[:20]
    assert [hit.id for hit in hits] == [f"d{n:03}" for n in wanted]
    assert [hit.score for hit in hits] == pytest.approx([scores[n] for n in wanted], abs=1e-4)


FILTERS = [
    "lang = 'zh'",
    "lang != 'zh'",
    "not (lang = 'zh' or stars < 200)",
    "stars >= 100 and stars < 110",
    "stars > 100.2",
    "stars <= 4.5",
    "stars = 9",
    "stars in (1, 3, 6, 9)",
    "price < 2.0000001",
    "price = 1",
    "day >= '2024-11-01'",
    "tags contains 't3'",
    "tags = 'a'",
    "free.note = 'note 3' or free.flag = false",
    "free.note starts with 'xx'",
    "parts.name = 'p1'",
    "free.note != 'q' and lang >= 'f'",
    "nothing = 1",
]


@pytest.mark.parametrize("where", FILTERS)
def test_a_filter_gives_what_its_definition_says(database: Database, where: str) -> None:
    adapter, condition = database.adapter, parse(where)
    everything = [document for batch in adapter.scan("books") for document in batch.documents]
    wanted = {document.id for document in everything if matches(condition, document.metadata)}
    assert len(everything) == COUNT
    assert {d.id for batch in adapter.scan("books", filter=condition) for d in batch.documents} == wanted
    assert adapter.count("books", filter=condition) == len(wanted)
    [hits] = adapter.search_lexical("books", ["number"], k=COUNT, filter=condition)
    assert {hit.id for hit in hits} == wanted


def test_records_come_back_by_id_with_their_metadata_and_vectors(database: Database) -> None:
    books = database.collection("books")
    [found] = books.get(["d010", "nobody"])
    assert found.metadata["lang"] == "zh"
    assert "embedding" not in found.metadata
    assert "body" not in found.metadata
    vectors = database.adapter.get_vectors("books", ["d010", "d011", "nobody"])
    assert vectors["d011"].tolist() == pytest.approx(VECTORS[11].tolist())
    [first, *_] = database.adapter.scan("books", batch_size=50, vectors=True)
    assert first.vectors is not None
    assert first.vectors.shape == (50, DIM)


def test_the_layout_names_its_indexes_and_an_alias_leads_to_one(
    server: tuple[str, Elasticsearch], database: Database
) -> None:
    assert database.collections() == ["books"]
    spec = database.describe("books")
    assert (spec.dim, spec.metric, spec.passport) == (DIM, Metric.L2, None)
    server[1].indices.put_alias(index="theirs_books", name="theirs_now")
    assert database.collection("now").count() == COUNT
    for name in ("nowhere", "book*", "books,words", ""):
        with pytest.raises(CollectionNotFoundError):
            database.describe(name)


def test_nothing_can_be_written_and_another_dim_is_refused(server: tuple[str, Elasticsearch]) -> None:
    with qvec.connect(server[0], layout=FORM, model="hashing", dim=DIM + 1) as database:
        with pytest.raises(PassportMismatchError):
            database.collection("books").search("run")
        with pytest.raises(UnsupportedError, match="read-only"):
            database.adapter.delete("books", ["d001"])


def test_a_text_without_an_analyzer_has_qvec_s_own_words(server: tuple[str, Elasticsearch]) -> None:
    with qvec.connect(server[0], layout=FieldMap(id="_id", text="body", table="theirs_{name}")) as database:
        words = database.collection("words")
        assert [hit.id for hit in words.search("csv", mode="lexical")] == ["one"]
        server[1].index(index="theirs_words", id="two", document={"body": "a csv"}, refresh=True)
        assert {hit.id for hit in words.search("csv", mode="lexical")} == {"one", "two"}
