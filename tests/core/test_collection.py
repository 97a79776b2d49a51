"""Collection on every embedded database: the same calls, the same answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from qvec.collection import Collection
from qvec.database import Database
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import CollectionNotFoundError, FilterError, InvalidInputError, PassportMismatchError
from qvec.filters import Field
from qvec.memory import MemoryAdapter
from qvec.types import Document

DOCS = [
    {"id": "csv", "text": "def read_csv(path): return list(csv.reader(open(path)))", "lang": "py", "stars": 5},
    {"id": "json", "text": "parse a JSON string into an object", "lang": "py", "stars": 9},
    {"id": "zh", "text": "读取文件的全部内容并返回字符串", "lang": "zh", "stars": 1},
    {"id": "go", "text": "func ReadCsvFile(path string) ([][]string, error)", "lang": "go"},
]


@pytest.fixture
def books(database: Database) -> Collection:
    collection = database.collection("books")
    report = collection.index(DOCS)
    assert (report.added, report.failed) == (4, {})
    return collection


def ids(hits: list) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_each_mode_finds_the_document_and_says_where_each_leg_ranked_it(books: Collection, mode: str) -> None:
    first = books.search("read csv", mode=mode, k=2)[0]
    assert first.id in {"csv", "go"}
    assert {leg.name for leg in first.legs} == ({"dense", "lexical"} if mode == "hybrid" else {mode})
    assert all(leg.rank >= 1 for leg in first.legs)
    assert first.score == pytest.approx(sum(leg.contribution for leg in first.legs))


def test_a_chinese_keyword_finds_a_chinese_text(books: Collection) -> None:
    assert ids(books.search("读取文件", mode="lexical")) == ["zh"]


@pytest.mark.parametrize(
    "where", ["lang = 'py' and stars >= 6", {"lang": "py", "stars": {">=": 6}}, Field("stars") >= 6]
)
def test_a_filter_in_any_form_narrows_every_mode(books: Collection, where: object) -> None:
    for mode in ("hybrid", "dense"):
        assert ids(books.search("read csv", where=where, mode=mode)) == ["json"]
    assert books.search("read csv", where=where, mode="lexical") == []
    assert books.count(where) == 1


def test_a_second_identical_run_embeds_and_writes_nothing(books: Collection) -> None:
    report = books.index(DOCS)
    assert (report.added, report.updated, report.unchanged, report.embedded) == (0, 0, 4, 0)


def test_a_changed_text_or_metadata_is_an_update(books: Collection) -> None:
    changed = [{**DOCS[0], "stars": 6}, {**DOCS[1], "text": "something else entirely"}, *DOCS[2:]]
    report = books.index(changed)
    assert (report.added, report.updated, report.unchanged) == (0, 2, 2)
    assert books.get("csv")[0].metadata["stars"] == 6
    assert "json" not in ids(books.search("JSON object", mode="lexical"))


def test_prune_deletes_what_was_not_mentioned(books: Collection) -> None:
    report = books.index(DOCS[:2], prune=True)
    assert (report.unchanged, report.deleted) == (2, 2)
    assert books.count() == 2


def test_prune_without_documents_is_refused(books: Collection) -> None:
    with pytest.raises(InvalidInputError, match="empty the collection"):
        books.index([], prune=True)
    assert books.count() == 4


def test_a_failed_document_keeps_its_old_version_even_under_prune(books: Collection) -> None:
    report = books.index([{"id": "csv", "text": "  "}, *DOCS[1:]], prune=True)
    assert list(report.failed) == ["csv"]
    assert report.deleted == 0
    assert books.get("csv")[0].text == DOCS[0]["text"]


def test_duplicate_ids_in_one_call_are_reported_and_the_first_one_counts(books: Collection) -> None:
    report = books.index([{"id": "x", "text": "first"}, {"id": "x", "text": "second"}, {"id": "x", "text": "first"}])
    assert (report.added, report.unchanged) == (1, 1)
    assert list(report.failed) == ["docs[1]"]
    assert "occurred before" in report.failed["docs[1]"]
    assert books.get("x")[0].text == "first"


def test_what_cannot_be_indexed_is_reported_and_the_rest_goes_in(books: Collection) -> None:
    report = books.index(
        ["good text", 7, "", {"id": "nul", "text": "a\0b"}, {"id": "inf", "text": "x", "n": float("inf")}]
    )
    assert report.added == 1
    assert set(report.failed) == {"docs[1]", "docs[2]", "nul", "inf"}


def test_a_single_string_is_a_document(books: Collection) -> None:
    assert books.index("one lone text").added == 1


def test_docs_are_consumed_lazily(database: Database) -> None:
    taken = 0
    seen: list[int] = []

    def docs() -> Iterator[str]:
        nonlocal taken
        for number in range(5000):
            taken += 1
            yield f"text number {number}"

    report = database.collection("lazy").index(docs(), progress=lambda progress: seen.append(taken - progress.written))
    assert report.added == 5000
    assert max(seen) < 5000


def test_records_that_vanished_from_their_source_are_deleted(database: Database) -> None:
    collection = database.collection("files")
    chunks = [Document(f"a.py#{n}", f"def function_{n}(): pass", source="a.py") for n in range(3)]
    other = Document("b.py#0", "def other(): pass", source="b.py")
    collection.index([*chunks, other])
    report = collection.index([chunks[0], chunks[2]])
    assert (report.unchanged, report.deleted) == (2, 1)
    assert collection.count() == 3
    assert collection.delete("a.py") == 2
    assert collection.count() == 1


def test_get_keeps_the_order_asked_for_and_skips_unknown_ids(books: Collection) -> None:
    assert [document.id for document in books.get(["zh", "nowhere", "csv"])] == ["zh", "csv"]


def test_delete_by_id_and_by_filter(books: Collection) -> None:
    assert books.delete(["csv", "nowhere"]) == 1
    assert books.delete(where="lang = 'py'") == 1
    assert sorted(document.id for batch in books._adapter.scan("books") for document in batch.documents) == ["go", "zh"]
    with pytest.raises(InvalidInputError, match="ids or where"):
        books.delete()


def test_another_dim_is_an_error_that_names_both(books: Collection, database: Database) -> None:
    other = database.collection("books", embedder=HashingEmbedder(dim=128))
    for call in (lambda: other.search("x"), lambda: other.index(["y"])):
        with pytest.raises(PassportMismatchError, match=r"dim 256.*dim 128"):
            call()


def test_another_model_of_the_same_dim_is_an_error_that_names_both(books: Collection, database: Database) -> None:
    with pytest.raises(PassportMismatchError, match=r"hashing.*another/model"):
        database.collection("books", embedder=_Other()).search("x")


def test_another_prompt_template_is_an_error(books: Collection, database: Database) -> None:
    with pytest.raises(PassportMismatchError, match="prompt"):
        database.collection("books", embedder=_OtherPrompt()).search("x")


def test_a_collection_opened_without_a_model_takes_the_one_in_its_passport(
    books: Collection, database: Database
) -> None:
    small = database.collection("small", dim=64)
    small.index(["a text"])
    assert database.collection("small").embedder.dim == 64
    assert ids(database.collection("small").search("a text", mode="dense"))


@pytest.mark.parametrize("query", ["", "  \n", "a\0b", "a\ud800"])
def test_a_query_that_cannot_be_asked_is_an_error(books: Collection, query: str) -> None:
    with pytest.raises(InvalidInputError, match="query"):
        books.search(query)


def test_a_missing_collection_is_an_error_in_every_mode(database: Database) -> None:
    for mode in ("hybrid", "dense", "lexical"):
        with pytest.raises(CollectionNotFoundError, match="nowhere"):
            database.collection("nowhere").search("x", mode=mode)


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"offset": -1}, {"mode": "magic"}, {"fusion": "magic"}, {"weights": {"dense": -1.0}}]
)
def test_numbers_and_words_out_of_range_are_errors(books: Collection, options: dict) -> None:
    with pytest.raises(InvalidInputError):
        books.search("x", **options)


def test_a_filter_that_cannot_be_read_is_an_error(books: Collection) -> None:
    with pytest.raises(FilterError):
        books.search("x", where="lang ==")


def test_a_filter_on_a_missing_field_matches_nothing(books: Collection) -> None:
    assert books.search("csv", where="no_such_field = 1") == []
    assert books.search("csv", where="no_such_field != 1") == []


def test_sql_in_a_filter_is_a_value_like_any_other(books: Collection) -> None:
    assert books.search("csv", where=Field("lang") == "'; DROP TABLE books; --") == []
    assert books.count() == 4


def test_pages_follow_one_another(books: Collection) -> None:
    whole = ids(books.search("read csv file", k=4))
    assert ids(books.search("read csv file", k=2)) + ids(books.search("read csv file", k=2, offset=2)) == whole


def test_two_hybrid_queries_on_one_object_do_not_share_keywords(books: Collection) -> None:
    alone = books.search("JSON string")
    books.search("csv reader")
    assert books.search("JSON string") == alone


class _Other(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__(dim=256)
        self.model_id = "another/model"
        self.revision = "r2"


class _OtherPrompt(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__(dim=256)
        self.prompt_digest = "another"


@pytest.mark.parametrize("mode", ["hybrid", "dense"])
def test_a_query_vector_made_elsewhere_answers_as_the_models_own(books: Collection, mode: str) -> None:
    vector = books.embedder.encode_query(["read csv"])[0].tolist()
    assert ids(books.search("read csv", mode=mode, vector=vector)) == ids(books.search("read csv", mode=mode))


def test_with_a_vector_the_dense_leg_needs_no_words(books: Collection) -> None:
    vector = books.embedder.encode_query(["read csv"])[0]
    assert ids(books.search("", mode="dense", vector=vector)) == ids(books.search("read csv", mode="dense"))
    with pytest.raises(InvalidInputError, match="empty"):
        books.search("", mode="hybrid", vector=vector)
    with pytest.raises(InvalidInputError, match="shape"):
        books.search("", mode="dense", vector=[1.0, 2.0])


def test_documents_go_in_with_vectors_made_elsewhere(database: Database) -> None:
    shelf = database.collection("shelf")
    shelf.upsert([], np.empty((0, 3), np.float32))
    assert database.collections() == []
    shelf.upsert([Document("a", "one"), Document("b", "two")], np.eye(3, dtype=np.float32)[:2])
    shelf.upsert([Document("a", "three")], np.eye(3, dtype=np.float32)[2:])
    assert (shelf.describe().dim, shelf.describe().passport, shelf.count()) == (3, None, 2)
    assert [hit.text for hit in shelf.search("", mode="dense", vector=[0, 0, 1], k=1)] == ["three"]
    assert [hit.text for hit in shelf.search("two", mode="hybrid", vector=[0, 0, 1], k=2)] == ["two", "three"]
    with pytest.raises(InvalidInputError, match="shape"):
        shelf.upsert([Document("c", "four")], np.ones((1, 4), np.float32))


def test_vectors_of_a_model_that_was_named_leave_its_passport(database: Database) -> None:
    model = HashingEmbedder(dim=64)
    shelf = database.collection("shelf", embedder=model)
    shelf.upsert([Document("a", "one")], model.encode_document(["one"]))
    found = shelf.describe().passport
    assert found is not None
    assert found.model_id == model.model_id


def test_vectors_of_the_model_before_a_swap_are_refused_and_those_of_the_model_after_it_taken() -> None:
    adapter = MemoryAdapter()
    with Database(adapter) as database:
        database.collection("shelf", model="hashing", dim=256).index(["one"])
        database.collection("shadow", model="bundled", dim=256).index(["one"])
        shelf = database.collection("shelf")
        vectors = shelf.embedder.encode_document(["two"])
        adapter.exchange("shelf", "shadow")
        with pytest.raises(PassportMismatchError):
            shelf.upsert([Document("two", "two")], vectors)
        assert shelf.count() == 1
        shelf.upsert([Document("two", "two")], shelf.embedder.encode_document(["two"]))
        assert [hit.text for hit in shelf.search("two", mode="dense", k=1)] == ["two"]


def test_a_cleared_collection_is_empty_and_as_it_was(books: Collection) -> None:
    before = books.describe()
    books.clear()
    assert (books.count(), books.describe()) == (0, before)
    books.index(DOCS[:1])
    assert ids(books.search("read csv")) == ["csv"]
