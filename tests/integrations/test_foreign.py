"""What LangChain and LlamaIndex wrote with their own stores is read and searched where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

import pytest

from qvec.database import Database, connect
from qvec.errors import CollectionNotFoundError, ConfigError, InvalidInputError, PassportMismatchError, UnsupportedError
from qvec.filters import Compare, Exists, Not, Op, matches
from qvec.layouts import FieldMap
from qvec.testing.cases import FILTER_CASES, FILTER_DOCUMENTS
from qvec.types import CollectionSpec, Document
from tests.adapters.milvus_server import milvus_uri
from tests.integrations.foreign_writers import (
    DIM,
    DOCUMENTS,
    model,
    write_llamaindex,
    write_milvus,
    write_pgvector,
    write_pgvectorstore,
)

QUERIES = ("read a csv file", "读取文件", "json", "o'brien")


@dataclass(frozen=True)
class Written:
    """A collection that a framework wrote, opened by qvec."""

    database: Database
    name: str
    documents: tuple[Document, ...]


Writer = Callable[[str, str, Sequence[Document]], None]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("psycopg")
    embedded = pytest.importorskip("qvec_pgvector.embedded")
    import psycopg

    uri = embedded.start(tmp_path_factory.mktemp("foreign"))
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    return uri


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("milvus_lite")
    return f"milvus:{tmp_path_factory.mktemp('foreign') / 'milvus.db'}"


@pytest.fixture(scope="module")
def milvus_server() -> str:
    return milvus_uri()


WRITERS: dict[str, tuple[str, str, Writer]] = {
    "langchain PGVector": ("postgres", "langchain", write_pgvector),
    "langchain PGVectorStore": ("postgres", "langchain", write_pgvectorstore),
    "llamaindex PGVectorStore": ("postgres", "llamaindex", write_llamaindex),
    "langchain Milvus": ("milvus", "langchain", write_milvus),
    "langchain Milvus server": ("milvus_server", "langchain", write_milvus),
}
_AS_SERVER = (pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900))
EACH = [pytest.param(name, marks=_AS_SERVER if "server" in name else ()) for name in WRITERS]


def as_written(writer: str, documents: Sequence[Document]) -> tuple[Document, ...]:
    source = "whole" if "llama" in writer else ""
    takes_uuids = writer == "langchain PGVectorStore"
    names = [str(uuid5(NAMESPACE_URL, each.id)) if takes_uuids else each.id for each in documents]
    return tuple(Document(name, each.text, each.metadata, source) for name, each in zip(names, documents, strict=True))


@pytest.fixture(scope="module", params=EACH)
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    server, layout, write = WRITERS[request.param]
    uri = request.getfixturevalue(server)
    documents = as_written(request.param, DOCUMENTS)
    name = f"docs_{list(WRITERS).index(request.param)}"
    write(uri, name, documents)
    with connect(uri, layout=layout) as database:
        yield Written(database, name, documents)


@pytest.fixture
def reference(written: Written) -> Iterator[Database]:
    """The same documents in memory, in the metric of the foreign table."""
    with connect("memory://") as database:
        metric = written.database.describe(written.name).metric
        database.adapter.create_collection(CollectionSpec("same", DIM, metric))
        vectors = model().encode_document([document.text for document in written.documents])
        database.adapter.upsert("same", written.documents, vectors)
        yield database


def test_a_collection_is_listed_counted_read_and_walked(written):
    collection = written.database.collection(written.name, embedder=model())
    assert written.name in written.database.collections()
    assert collection.describe().dim == DIM
    assert collection.count() == len(DOCUMENTS)
    ids = [document.id for document in written.documents]
    assert collection.get([*reversed(ids), "nope"]) == list(reversed(written.documents))
    batches = list(written.database.adapter.scan(written.name, batch_size=4, vectors=True))
    found = {document.id: document for batch in batches for document in batch.documents}
    assert found == {document.id: document for document in written.documents}
    assert sum(len(batch.vectors) for batch in batches) == len(DOCUMENTS)
    assert set(written.database.adapter.get_vectors(written.name, [*ids, "nope"])) == set(ids)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_search_finds_what_it_finds_in_a_collection_of_our_own(written, reference, mode):
    for query in QUERIES:
        for where in (None, "lang != 'py' and stars < 8"):
            ours = reference.collection("same", embedder=model()).search(query, k=4, mode=mode, where=where)
            theirs = written.database.collection(written.name, embedder=model()).search(
                query, k=4, mode=mode, where=where
            )
            assert [hit.id for hit in theirs] == [hit.id for hit in ours], query
            assert [hit.document for hit in theirs] == [hit.document for hit in ours]
            assert [hit.score for hit in theirs] == pytest.approx([hit.score for hit in ours], abs=1e-4)


def test_every_write_is_an_error_that_says_so_and_changes_nothing(written):
    collection = written.database.collection(written.name, embedder=model())
    vectors = model().encode_document(["x"])
    attempts = (
        lambda: collection.index(["x"]),
        lambda: collection.upsert([Document("x", "x")], vectors),
        lambda: collection.delete(written.documents[0].id),
        lambda: collection.delete(where="stars >= 0"),
        collection.clear,
        collection.drop,
    )
    for attempt in attempts:
        with pytest.raises(UnsupportedError, match=r"read-only.*write with that program"):
            attempt()
    assert collection.count() == len(DOCUMENTS)


def test_the_model_has_to_be_named_and_keywords_need_none(written):
    collection = written.database.collection(written.name)
    with pytest.raises(InvalidInputError, match="model="):
        collection.search("csv")
    assert collection.search("csv", mode="lexical")


def test_a_model_of_another_width_and_an_unknown_collection_are_errors(written):
    with pytest.raises(PassportMismatchError, match="64-dim"):
        written.database.collection(written.name, model="bundled", dim=32).search("csv")
    with pytest.raises(CollectionNotFoundError, match=written.name):
        written.database.collection("another", embedder=model()).search("csv")


@pytest.mark.parametrize("writer", [name for name in WRITERS if WRITERS[name][0] == "postgres"])
def test_filters_mean_the_same_as_everywhere(writer, request):
    server, layout, write = WRITERS[writer]
    uri = request.getfixturevalue(server)
    documents = as_written(writer, FILTER_DOCUMENTS)
    write(uri, f"cases_{list(WRITERS).index(writer)}", documents)
    with connect(uri, layout=layout) as database:
        name = f"cases_{list(WRITERS).index(writer)}"
        for title, filter in FILTER_CASES.items():
            expected = {document.id for document in documents if matches(filter, document.metadata)}
            batches = database.adapter.scan(name, filter=filter)
            assert {document.id for batch in batches for document in batch.documents} == expected, title
            assert database.adapter.count(name, filter=filter) == len(expected), title


def test_keywords_follow_the_table_as_it_changes(postgres):
    # Ids are unique in all of langchain's table, whatever the collection.
    first, second = Document("g1", "read a csv file"), Document("g2", "open a socket")
    write_pgvector(postgres, "grows", [first])
    with connect(postgres, layout="langchain") as database:
        collection = database.collection("grows", embedder=model())
        assert collection.search("socket", mode="lexical") == []
        write_pgvector(postgres, "grows", [second])
        assert [hit.id for hit in collection.search("socket", mode="lexical")] == ["g2"]


def test_an_index_of_the_table_is_used_and_names_the_metric(postgres):
    import psycopg

    write_llamaindex(postgres, "indexed", DOCUMENTS)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE INDEX ON data_indexed USING hnsw (embedding vector_l2_ops)")
    with connect(postgres, layout="llamaindex") as database:
        assert database.describe("indexed").metric == "l2"
        [best, *_] = database.collection("indexed", embedder=model()).search(
            "read a csv file", mode="dense", where="stars > 0"
        )
        assert best.id == "a"
        assert best.score < 0


def test_a_field_map_opens_any_table_of_any_shape(postgres):
    import psycopg

    vectors = model().encode_document([document.text for document in DOCUMENTS])
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute('CREATE TABLE "My ""own"" notes" (nr int, "the text" text, v vector, stars int, added date)')
        for nr, (document, vector) in enumerate(zip(DOCUMENTS, vectors, strict=True)):
            row = (nr, document.text, str(vector.tolist()), document.metadata["stars"])
            connection.execute("""INSERT INTO "My ""own"" notes" VALUES (%s, %s, %s, %s, '2024-05-01')""", row)
    layout = FieldMap(id="nr", text="the text", vector="v")
    with connect(postgres, layout=layout) as database:
        collection = database.collection('My "own" notes', embedder=model())
        [best] = collection.search("read a csv file", k=1, where="stars = 3 and added >= '2024-05-01'")
        assert (best.id, best.metadata) == ("0", {"stars": 3, "added": "2024-05-01"})


def test_a_walk_over_many_pages_meets_every_row_once(postgres):
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE many (id int, text text, vector vector(2))")
        connection.execute(
            "INSERT INTO many SELECT n, repeat('file ', n % 40), '[1,2]' FROM generate_series(1, 3000) n"
        )
        connection.execute("DELETE FROM many WHERE id % 3 = 0")
    layout = FieldMap(id="id", text="text", vector="vector")
    with connect(postgres, layout=layout) as database:
        batches = database.adapter.scan("many", batch_size=170, filter=Not(Exists("nothing")))
        ids = [document.id for batch in batches for document in batch.documents]
        assert sorted(map(int, ids)) == [n for n in range(1, 3001) if n % 3]
        assert len(database.collection("many").search("file", k=3000, mode="lexical")) == 1950


def test_a_layout_that_nobody_has_and_a_database_that_reads_none_are_errors():
    with pytest.raises(ConfigError, match="langchain, llamaindex"):
        connect("memory://", layout="nonsense")
    with pytest.raises(UnsupportedError, match="memory"):
        connect("memory://", layout="langchain")


def test_milvus_widens_a_search_until_enough_hits_match(milvus):
    many = [Document(f"n{i:04}", f"file {i % 7}", {"n": i, "rare": i % 50 == 0}) for i in range(400)]
    write_milvus(milvus, "many", many)
    with connect(milvus, layout="langchain") as database:
        hits = database.collection("many", embedder=model()).search("file 3", k=8, mode="dense", where={"rare": True})
        assert {hit.id for hit in hits} == {f"n{i:04}" for i in range(0, 400, 50)}
        assert database.adapter.count("many", filter=Compare("rare", Op.EQ, True)) == 8


@pytest.mark.parametrize("writer", EACH)
def test_the_command_line_lists_and_searches_it_in_every_mode(writer, request):
    from click.testing import CliRunner

    from qvec.cli.app import cli

    server, layout, write = WRITERS[writer]
    uri = request.getfixturevalue(server)
    name = f"cli_{list(WRITERS).index(writer)}"
    # Ids are unique in all of langchain's table, whatever the collection.
    documents = as_written(writer, [Document(f"cli {each.id}", each.text, each.metadata) for each in DOCUMENTS])
    write(uri, name, documents)
    place = ["--backend", uri, "--layout", layout]
    listed = CliRunner().invoke(cli, ["collections", *place])
    assert name in listed.stdout, listed.stderr
    asked = [
        "search",
        "read a csv file",
        "--collection",
        name,
        "--model",
        "bundled",
        "--dim",
        str(DIM),
        "--json",
        *place,
    ]
    for mode in ("dense", "lexical", "hybrid"):
        found = CliRunner().invoke(cli, [*asked, "--mode", mode, "--where", "stars < 9"])
        assert found.exit_code == 0, found.stderr
        assert json.loads(found.stdout)["hits"][0]["id"] == documents[0].id
