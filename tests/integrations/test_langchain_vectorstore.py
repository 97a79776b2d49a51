"""The vector store inside LangChain on every database: what its own suite does not ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date

import pytest

from qvec.database import Database
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import EmbeddingError, FilterError, InvalidInputError, PartialWriteError, UnsupportedError

pytest.importorskip("langchain_core")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from qvec.integrations.langchain import QvecEmbeddings, QvecRetriever, QvecVectorStore
from qvec.types import IndexSpec

TEXTS = ["read a csv file", "write a csv file", "open a socket", "读取文件的内容"]
METADATAS = [{"n": 1, "kind": "file"}, {"n": 2, "kind": "file"}, {"n": 3, "kind": "net"}, {"n": 4}]
IDS = ["read", "write", "socket", "zh"]


@pytest.fixture
def shelf(database: Database) -> QvecVectorStore:
    embedding = QvecEmbeddings("hashing", dim=64)
    return QvecVectorStore.from_texts(TEXTS, embedding, METADATAS, ids=IDS, database=database)


@pytest.fixture
def small() -> Iterator[QvecVectorStore]:
    made = QvecVectorStore.connect("memory://", embedding=HashingEmbedder(dim=64))
    yield made
    made.close()


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


def test_every_mode_finds_the_document(shelf):
    for mode in ("dense", "lexical", "hybrid"):
        assert ids(shelf.similarity_search("open socket", k=1, mode=mode)) == ["socket"]


def test_the_score_is_the_cosine_and_a_filter_narrows(shelf):
    [(found, score)] = shelf.similarity_search_with_score("read a csv file", k=4, filter={"n": {"$lt": 2}})
    assert (found.id, found.metadata) == ("read", {"n": 1, "kind": "file"})
    assert score == pytest.approx(1, abs=1e-5)
    with pytest.raises(FilterError, match="regex"):
        shelf.similarity_search("read", filter={"n": {"$regex": "1"}})


def test_a_vector_finds_what_its_words_find_and_one_of_another_size_is_refused(shelf):
    vector = shelf.embeddings.embed_query("csv write")
    assert ids(shelf.similarity_search_by_vector(vector)) == ids(shelf.similarity_search("csv write"))
    with pytest.raises(InvalidInputError, match="shape"):
        shelf.similarity_search_by_vector([1.0, 0.0])


def test_marginal_relevance_prefers_what_is_unlike(shelf):
    near = shelf.max_marginal_relevance_search("csv file", k=2, lambda_mult=1.0)
    assert set(ids(near)) == {"read", "write"}
    apart = shelf.max_marginal_relevance_search("csv file", k=2, lambda_mult=0.0)
    assert set(ids(apart)) != {"read", "write"}
    assert ids(shelf.max_marginal_relevance_search("csv", k=3, filter={"kind": "net"})) == ["socket"]


def test_nothing_asked_for_is_nothing_found(shelf):
    assert shelf.similarity_search("csv", k=0) == []
    assert shelf.max_marginal_relevance_search("csv", k=0) == []
    with pytest.raises(InvalidInputError, match="k=-1"):
        shelf.similarity_search("csv", k=-1)
    with pytest.raises(InvalidInputError, match="empty"):
        shelf.similarity_search(" ")


def test_ids_come_back_in_the_order_asked_for(shelf):
    assert ids(shelf.get_by_ids(["zh", "nobody", "read", "zh"])) == ["zh", "read", "zh"]


def test_documents_are_deleted_by_id_by_filter_and_all(shelf):
    shelf.delete([])
    assert shelf.collection.count() == 4
    shelf.delete(["read", "nobody"])
    shelf.delete(filter={"kind": "net"})
    assert ids(shelf.get_by_ids(IDS)) == ["write", "zh"]
    with pytest.raises(InvalidInputError, match="not both"):
        shelf.delete(["zh"], filter={"n": 1})
    shelf.delete()
    assert shelf.collection.count() == 0


def test_what_a_database_cannot_hold_comes_back_as_it_was(shelf):
    odd = {"deep": {"a": [1, {"b": None}]}, "on": date(2024, 2, 29), "pair": (1, 2), "none": None}
    shelf.add_documents([Document(id="odd", page_content="odd", metadata=odd)])
    assert shelf.get_by_ids(["odd"])[0].metadata == odd
    assert ids(shelf.similarity_search("odd", k=5, filter={"on": {"$gte": date(2024, 1, 1)}})) == ["odd"]
    assert ids(shelf.similarity_search("odd", k=5, filter={"deep.a": {"$contains": 1}})) == ["odd"]


def test_relevance_is_between_0_and_1_and_takes_a_threshold(shelf):
    found = shelf.similarity_search_with_relevance_scores("read a csv file", k=4)
    assert found[0][1] == pytest.approx(1, abs=1e-5)
    assert all(0 <= score <= 1 for _, score in found)
    retriever = shelf.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9})
    assert ids(retriever.invoke("read a csv file")) == ["read"]
    assert ids(asyncio.run(retriever.ainvoke("read a csv file"))) == ["read"]
    with pytest.raises(UnsupportedError, match="hybrid"):
        shelf.similarity_search_with_relevance_scores("csv", mode="hybrid")


def test_a_retriever_takes_a_filter_and_a_mode(shelf):
    retriever = QvecRetriever(vectorstore=shelf, k=2, filter={"kind": "file"})
    assert set(ids(retriever.invoke("socket"))) == {"read", "write"}
    assert ids(retriever.invoke("socket", mode="lexical")) == []
    assert ids(retriever.invoke("socket", mode="lexical", filter="n = 3")) == ["socket"]


@pytest.mark.parametrize(
    ("cleanup", "kept"),
    [
        (None, {"a one", "a two", "a three", "b four"}),
        ("incremental", {"a one", "a three", "b four"}),
        ("scoped_full", {"a one", "a three", "b four"}),
        ("full", {"a one", "a three"}),
    ],
)
def test_langchains_index_adds_skips_and_cleans_up(database, cleanup, kept):
    shelf = QvecVectorStore.connect(database, embedding=HashingEmbedder(dim=64))
    records = InMemoryRecordManager("test")
    records.create_schema()

    def run(texts: list[str]) -> dict[str, int]:
        documents = [Document(page_content=text, metadata={"source": text[0]}) for text in texts]
        return dict(index(documents, records, shelf, cleanup=cleanup, source_id_key="source", key_encoder="sha256"))

    assert run(["a one", "a two", "b four"])["num_added"] == 3
    assert run(["a one", "a two", "b four"])["num_skipped"] == 3
    found = run(["a one", "a three"])
    assert (found["num_added"], found["num_skipped"], found["num_deleted"]) == (1, 1, 4 - len(kept))
    assert {document.page_content for document in shelf.similarity_search("two", k=9)} == kept


def test_langchains_index_works_from_async_code_too(database):
    shelf = QvecVectorStore.connect(database, embedding=HashingEmbedder(dim=64))
    records = InMemoryRecordManager("test")

    async def run(texts: list[str]) -> dict[str, int]:
        documents = [Document(page_content=text, metadata={"source": text[0]}) for text in texts]
        options = {"cleanup": "incremental", "source_id_key": "source", "key_encoder": "sha256"}
        return dict(await aindex(documents, records, shelf, **options))

    assert asyncio.run(run(["a one", "b two"]))["num_added"] == 2
    found = asyncio.run(run(["a one", "b three"]))
    assert (found["num_skipped"], found["num_added"], found["num_deleted"]) == (1, 1, 1)


def test_a_database_is_closed_when_its_collection_cannot_be_opened(tmp_path):
    for _ in range(2):  # one that stayed open would hold the folder
        with pytest.raises(InvalidInputError, match="name"):
            QvecVectorStore.connect(f"faiss:{tmp_path}/held", "no name", embedding=HashingEmbedder(dim=8))


def test_many_tasks_make_the_collection_add_to_it_and_ask_at_once(database):
    shelf = QvecVectorStore.connect(database, embedding=QvecEmbeddings("hashing", dim=64))
    words = ["apple", "bridge", "cloud", "dragon", "engine", "forest", "garden", "harbour"]

    async def work() -> list[list[Document]]:
        await asyncio.gather(*(shelf.aadd_texts([word], ids=[word]) for word in words))
        return await asyncio.gather(*(shelf.asimilarity_search(word, k=1, mode="hybrid") for word in words))

    assert [ids(found) for found in asyncio.run(work())] == [[word] for word in words]


def test_any_model_of_langchain_can_be_the_model():
    shelf = QvecVectorStore.from_texts(["a", "b"], DeterministicFakeEmbedding(size=6), database="memory://")
    assert shelf.similarity_search("b", k=1)[0].page_content == "b"
    assert shelf.collection.describe().dim == 6
    assert isinstance(shelf.embeddings, DeterministicFakeEmbedding)
    shelf.close()


def test_a_store_is_made_of_documents_sync_and_async():
    documents = [Document(id="a", page_content="one", metadata={"n": 1}), Document(page_content="two")]
    model = HashingEmbedder(dim=64)
    made = QvecVectorStore.from_documents(documents, model, database="memory://", collection="notes", mode="lexical")
    assert (made.collection.name, ids(made.similarity_search("one"))) == ("notes", ["a"])
    made.close()
    other = asyncio.run(QvecVectorStore.afrom_documents(documents, model, database="memory://"))
    assert [document.metadata for document in other.get_by_ids(["a"])] == [{"n": 1}]
    other.close()


class Wavering(Embeddings):
    """Makes vectors of another size for documents than for queries."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 2.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 2.0, 3.0]


def test_a_model_that_wavers_in_size_is_an_error():
    shelf = QvecVectorStore.connect("memory://", embedding=Wavering())
    with pytest.raises(PartialWriteError, match="shape"):
        shelf.add_texts(["a"])
    with pytest.raises(EmbeddingError, match="shape"):
        shelf.collection.embedder.encode_document(["a"])
    shelf.close()


def test_an_instruction_reaches_the_query():
    shelf = QvecVectorStore.connect("memory://", embedding=QvecEmbeddings("hashing", instruction="code_search"))
    assert shelf.instruction == "code_search"
    assert shelf.embeddings.instruction == "code_search"
    shelf.close()


def test_what_does_not_go_in_is_named(small):
    with pytest.raises(PartialWriteError, match="empty"):
        small.add_texts(["good", " "], ids=["a", "b"])
    assert ids(small.get_by_ids(["a", "b"])) == ["a"]
    with pytest.raises(InvalidInputError, match="1 ids came with 2 texts"):
        small.add_texts(["a", "b"], ids=["a"])
    with pytest.raises(InvalidInputError, match="metadata"):
        small.add_texts(["a"], [{"f": object()}])
    assert small.add_texts([]) == []


def test_a_long_document_is_kept_in_parts_and_read_whole():
    small = QvecVectorStore.connect("memory://", embedding=HashingEmbedder(dim=64, max_tokens=40))
    text = "".join(f"word{n} " for n in range(100))
    small.add_texts([text], [{"a": 1}], ids=["long"])
    assert small.collection.count() > 1
    [found] = small.get_by_ids(["long"])
    assert (found.id, found.page_content, found.metadata) == ("long", text, {"a": 1})
    small.delete(["long"])
    assert small.collection.count() == 0
    small.close()


def test_a_broader_search_of_a_coarse_graph_finds_nearer_texts(tmp_path):
    pytest.importorskip("faiss")
    coarse = IndexSpec(kind="hnsw", m=4, ef_construction=8)
    store = QvecVectorStore.connect(
        f"faiss:{tmp_path}/store", embedding=DeterministicFakeEmbedding(size=64), index=coarse, ef=1
    )
    store.add_texts([f"text {number}" for number in range(1000)])
    broad = QvecVectorStore(store.collection, ef=1000)
    narrow, best = (
        sum(score for _, score in each.similarity_search_with_score("a question", k=10)) for each in (store, broad)
    )
    store.close()
    assert best > narrow + 0.01
