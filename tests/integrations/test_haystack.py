"""qvec inside Haystack on every embedded database: pipelines, components, what the suites do not ask."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from qvec.database import Database
from qvec.errors import ConfigError, InvalidInputError, UnsupportedError

pytest.importorskip("haystack")

from haystack import Pipeline
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ByteStream, Document, SparseEmbedding
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret

from qvec.integrations.haystack import (
    QvecDocumentEmbedder,
    QvecDocumentStore,
    QvecDuplicateError,
    QvecFilterError,
    QvecRetriever,
    QvecTextEmbedder,
)

NET = {"field": "meta.kind", "operator": "==", "value": "net"}


@pytest.fixture
def shelf(database: Database) -> QvecDocumentStore:
    return QvecDocumentStore.over(database.collection("haystack"))


@pytest.fixture
def small() -> Iterator[QvecDocumentStore]:
    made = QvecDocumentStore("memory://")
    yield made
    made.close()


def documents() -> list[Document]:
    return [
        Document(id="read", content="read a csv file", meta={"kind": "file"}),
        Document(id="write", content="write a csv file", meta={"kind": "file"}),
        Document(id="socket", content="open a network socket", meta={"kind": "net"}),
    ]


def ids(found: list[Document]) -> list[str]:
    return [document.id for document in found]


def fill(shelf: QvecDocumentStore) -> None:
    pipeline = Pipeline()
    pipeline.add_component("embedder", QvecDocumentEmbedder())
    pipeline.add_component("writer", DocumentWriter(shelf, policy=DuplicatePolicy.OVERWRITE))
    pipeline.connect("embedder.documents", "writer.documents")
    assert pipeline.run({"embedder": {"documents": documents()}})["writer"]["documents_written"] == 3


def asking(retriever: QvecRetriever) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", QvecTextEmbedder())
    pipeline.add_component("retriever", retriever)
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_a_pipeline_finds_the_document_in_every_mode(shelf, mode):
    fill(shelf)
    pipeline = asking(QvecRetriever(shelf, mode=mode, top_k=1))
    question = {"embedder": {"text": "network socket"}, "retriever": {"query": "network socket"}}
    [found] = pipeline.run(question)["retriever"]["documents"]
    assert (found.id, found.content, found.meta) == ("socket", "open a network socket", {"kind": "net"})
    assert found.score is not None
    assert found.embedding is None
    question["retriever"]["filters"] = {"field": "meta.kind", "operator": "!=", "value": "net"}
    [other] = pipeline.run({**question, "embedder": {"text": "csv socket"}})["retriever"]["documents"] or [None]
    assert other is None or other.meta["kind"] == "file"


def test_a_retriever_is_asked_from_async_code_too(shelf):
    fill(shelf)
    embedding = asyncio.run(QvecTextEmbedder().run_async("a socket"))["embedding"]
    retriever = QvecRetriever(shelf, mode="dense", top_k=3, filters=NET, return_embedding=True)
    [found] = asyncio.run(retriever.run_async(query_embedding=embedding))["documents"]
    assert found.id == "socket"
    assert found.embedding == pytest.approx(QvecDocumentEmbedder().run([found])["documents"][0].embedding, abs=1e-6)


def test_many_tasks_make_the_collection_write_to_it_and_ask_at_once(shelf):
    words = ["apple", "bridge", "cloud", "dragon", "engine", "forest"]

    async def work() -> list[list[Document]]:
        written = [Document(id=word, content=word, embedding=[1.0, float(at)]) for at, word in enumerate(words)]
        await asyncio.gather(*(shelf.write_documents_async([document]) for document in written))
        return await asyncio.gather(*(shelf.retrieve_async(word, mode="lexical") for word in words))

    assert [ids(found) for found in asyncio.run(work())] == [[word] for word in words]
    assert shelf.count_documents() == len(words)


def test_filters_of_a_call_replace_or_join_those_of_the_retriever(small):
    fill(small)
    read = {"field": "id", "operator": "==", "value": "read"}
    replacing = QvecRetriever(small, mode="lexical", filters=NET)
    assert ids(replacing.run("csv file", filters=read)["documents"]) == ["read"]
    joining = QvecRetriever(small, mode="lexical", filters=NET, filter_policy="merge")
    assert joining.run("csv file", filters=read)["documents"] == []


def test_documents_without_embedding_are_found_by_keyword_never_by_vector(shelf):
    shelf.write_documents([Document(id="bare", content="bare csv"), Document(id="against", embedding=[-1.0, 0.0])])
    assert ids(shelf.retrieve(query_embedding=[1.0, 0.0], mode="dense", top_k=1)) == ["against"]
    assert ids(shelf.retrieve("csv", mode="lexical")) == ["bare"]
    assert set(ids(shelf.retrieve("csv", query_embedding=[1.0, 0.0]))) == {"bare", "against"}
    assert ids(shelf.retrieve("nothing", query_embedding=[1.0, 0.0])) == ["against"]


def test_documents_of_every_kind_come_back_as_they_went_in(shelf):
    odd = {"deep": {"a": [1, {"b": None}]}, "on": date(2024, 2, 29), "pair": (1, 2), "none": None}
    written = [
        Document(id="z", content="a\n  b", meta=odd, embedding=[1.0, 0.5]),
        Document(id="y", blob=ByteStream(b"\x00\xff", {"from": "disk"}, "image/png"), embedding=[0.0, 1.0]),
        Document(id="x", content="", sparse_embedding=SparseEmbedding([1, 7], [0.5, 0.25])),
        Document(id="w", content="scored", score=0.25),
    ]
    shelf.write_documents(written)
    assert shelf.filter_documents() == written
    newer = {"field": "meta.on", "operator": ">", "value": "2024-02-28"}
    assert ids(shelf.filter_documents(newer)) == ["z"]
    assert shelf.update_by_filter(newer, {"more": 1}) == 1
    [changed] = shelf.filter_documents(newer)
    assert (changed.meta, changed.embedding) == ({**odd, "more": 1}, [1.0, 0.5])


def test_an_empty_store_answers_with_nothing(shelf):
    assert shelf.retrieve("csv", mode="lexical") == []
    assert shelf.retrieve("csv", query_embedding=[1.0]) == []
    assert shelf.filter_documents(NET) == []
    assert shelf.update_by_filter(NET, {"a": 1}) == 0
    assert shelf.delete_by_filter(NET) == 0
    shelf.delete_all_documents(recreate_collection=True)


def test_the_first_embeddings_give_the_size_and_others_are_refused(small):
    small.write_documents([Document(id="a", content="a", embedding=[1.0, 0.0])])
    for wrong in ([[1.0]], [[1.0, 2.0], [1.0]], [[float("nan"), 1.0]], [["x", "y"]]):
        with pytest.raises(InvalidInputError):
            small.write_documents([Document(content=str(n), embedding=vector) for n, vector in enumerate(wrong)])
    with pytest.raises(InvalidInputError, match="shape"):
        small.retrieve(query_embedding=[1.0, 0.0, 0.0], mode="dense")
    assert small.count_documents() == 1
    small.delete_all_documents(recreate_collection=True)
    small.write_documents([Document(id="a", content="a", embedding=[1.0, 0.0, 0.0])])


def test_a_store_of_bare_documents_takes_the_default_models_size(small):
    small.write_documents([Document(content="a")])
    small.write_documents(QvecDocumentEmbedder().run([Document(content="b")])["documents"])
    assert small.count_documents() == 2


def test_policies_decide_about_ids_that_are_there(small):
    old, new = Document(id="a", content="old"), Document(id="a", content="new")
    with pytest.raises(QvecDuplicateError):
        small.write_documents([old, new])
    assert small.count_documents() == 0
    assert small.write_documents([old, new], DuplicatePolicy.SKIP) == 1
    assert small.filter_documents()[0].content == "old"
    assert small.write_documents([old, new], DuplicatePolicy.OVERWRITE) == 2
    assert small.filter_documents()[0].content == "new"


def test_what_cannot_be_asked_is_an_error(small):
    assert small.retrieve("csv", mode="lexical", top_k=0) == []
    with pytest.raises(InvalidInputError, match="k=-1"):
        small.retrieve("csv", mode="lexical", top_k=-1)
    with pytest.raises(InvalidInputError, match="empty"):
        small.retrieve("", mode="lexical")
    with pytest.raises(InvalidInputError, match="text embedder"):
        small.retrieve("csv")
    with pytest.raises(QvecFilterError, match="delete_all_documents"):
        small.delete_by_filter({})
    with pytest.raises(InvalidInputError, match="metadata"):
        small.write_documents([Document(content="a", meta={"f": object})])
    for options in ({"mode": "sparse"}, {"top_k": 0}):
        with pytest.raises(InvalidInputError):
            QvecRetriever(small, **options)
    with pytest.raises(InvalidInputError, match="str"):
        QvecRetriever("store")
    with pytest.raises(InvalidInputError, match="int"):
        QvecTextEmbedder().run(3)
    with pytest.raises(InvalidInputError, match="list"):
        QvecDocumentEmbedder().run("text")


def test_the_extremes_of_mixed_values_are_an_error(small):
    small.write_documents([Document(content="a", meta={"n": 1}), Document(content="b", meta={"n": "x"})])
    with pytest.raises(InvalidInputError, match="order"):
        small.get_metadata_field_min_max("n")


def test_a_pipeline_is_written_and_read(tmp_path):
    retriever = QvecRetriever(
        QvecDocumentStore("memory://", "notes", dim=8, metric="dot"), mode="lexical", filters=NET, filter_policy="merge"
    )
    pipeline = asking(retriever)
    pipeline.add_component("documents", QvecDocumentEmbedder("hashing", dim=8, meta_fields_to_embed=["title"]))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["qvec.integrations.haystack.*"])
    assert again.dumps() == pipeline.dumps()
    assert again.get_component("retriever").document_store.to_dict() == retriever.document_store.to_dict()


def test_a_password_comes_as_a_secret(monkeypatch, database):
    monkeypatch.setenv("SHELF", "memory://")
    store = QvecDocumentStore(Secret.from_env_var("SHELF"))
    again = QvecDocumentStore.from_dict(store.to_dict())
    assert again.count_documents() == 0
    again.close()
    with pytest.raises(ConfigError, match="Secret"):
        QvecDocumentStore("postgresql://me:word@host/db")
    with pytest.raises(UnsupportedError, match="serialised"):
        QvecDocumentStore.over(database.collection("a")).to_dict()


def test_the_embedders_apply_instruction_size_and_fields():
    plain = QvecTextEmbedder("hashing", dim=32)
    plain.warm_up()
    assert len(plain.run("read")["embedding"]) == 32
    document = Document(content="body", meta={"title": "head", "none": None})
    embedder = QvecDocumentEmbedder("hashing", dim=32, meta_fields_to_embed=["title", "none"])
    [found] = embedder.run([document])["documents"]
    assert found.embedding == QvecTextEmbedder("hashing", dim=32).run("head\nbody")["embedding"]
    assert document.embedding is None
    assert embedder.run([])["documents"] == []


def test_without_haystack_the_pip_line_is_given():
    code = (
        "import sys; sys.modules['haystack'] = None\n"
        "from qvec.errors import MissingDriverError\n"
        "try:\n    import qvec.integrations.haystack\n"
        "except MissingDriverError as exc:\n    print(exc)\n"
    )
    folder = Path(__file__).parent
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert found.stdout.strip() == 'haystack-ai is not installed: pip install "qvec[haystack]"'
