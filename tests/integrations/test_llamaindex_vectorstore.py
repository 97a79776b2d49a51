"""The vector store inside LlamaIndex on every database: indexes, pipelines, every call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date

import pytest

from qvec.database import Database
from qvec.errors import InvalidInputError, PassportMismatchError, UnsupportedError

pytest.importorskip("llama_index.core")

from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import (
    ExactMatchFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from qvec.integrations.llamaindex import QvecEmbedding, QvecVectorStore

MODES = ["default", "sparse", "text_search", "hybrid", "mmr"]
FILES = MetadataFilters(filters=[ExactMatchFilter(key="kind", value="file")])


@pytest.fixture(scope="module")
def model() -> QvecEmbedding:
    return QvecEmbedding()


@pytest.fixture
def shelf(database: Database) -> QvecVectorStore:
    return QvecVectorStore.connect(database)


@pytest.fixture
def small() -> Iterator[QvecVectorStore]:
    made = QvecVectorStore.connect("memory://")
    yield made
    made.close()


def documents() -> list[Document]:
    return [
        Document(id_="read", text="read a csv file", metadata={"kind": "file", "n": 1}),
        Document(id_="write", text="write a csv file", metadata={"kind": "file", "n": 2}),
        Document(id_="socket", text="open a network socket", metadata={"kind": "net"}),
    ]


def build(shelf: QvecVectorStore, model: QvecEmbedding) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=shelf)
    return VectorStoreIndex.from_documents(documents(), storage_context=context, embed_model=model)


def vector_node(identity: str, vector: list[float], text: str = "text") -> TextNode:
    return TextNode(id_=identity, text=text, embedding=vector)


def test_an_index_finds_updates_and_deletes_in_every_mode(shelf, model):
    index = build(shelf, model)
    for mode in MODES:
        retriever = index.as_retriever(similarity_top_k=1, vector_store_query_mode=mode)
        [found] = retriever.retrieve("network socket")
        assert (found.node.ref_doc_id, found.node.text) == ("socket", "open a network socket")
        [again] = asyncio.run(retriever.aretrieve("network socket"))
        assert again.node == found.node
        some = index.as_retriever(similarity_top_k=5, vector_store_query_mode=mode, filters=FILES)
        assert {hit.node.ref_doc_id for hit in some.retrieve("a csv file or socket")} == {"read", "write"}
    index.update_ref_doc(Document(id_="socket", text="close the door"))
    index.delete_ref_doc("read")
    assert sorted(node.text for node in shelf.get_nodes()) == ["close the door", "write a csv file"]
    reopened = VectorStoreIndex.from_vector_store(shelf, embed_model=model)
    assert reopened.as_retriever(similarity_top_k=1).retrieve("door")[0].node.text == "close the door"


def test_a_pipeline_with_upserts_and_deletes_follows_its_documents(shelf, model):
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0), model],
        vector_store=shelf,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )
    long = Document(id_="long", text=" ".join(f"This is sentence number {n}." for n in range(60)))
    pipeline.run(documents=[*documents(), long])
    cut = [node for node in shelf.get_nodes() if node.ref_doc_id == "long"]
    assert len(cut) > 2
    assert pipeline.run(documents=[*documents(), long]) == []
    changed = documents()[1:]
    changed[0].set_content("write a json file")
    pipeline.run(documents=changed)
    assert sorted(node.get_content() for node in shelf.get_nodes()) == ["open a network socket", "write a json file"]


def test_documents_that_are_not_cut_are_followed_too(shelf, model):
    pipeline = IngestionPipeline(
        transformations=[model],
        vector_store=shelf,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )
    asyncio.run(pipeline.arun(documents=documents()))
    asyncio.run(pipeline.arun(documents=documents()[:1]))
    assert [node.get_content() for node in shelf.get_nodes()] == ["read a csv file"]


def test_nodes_of_every_kind_come_back_as_they_went_in(shelf):
    odd = {"deep": {"a": [1, {"b": None}]}, "on": date(2024, 2, 29), "none": None, "empty": []}
    nodes = [
        TextNode(id_="text", text="a\n  b", metadata=odd, excluded_llm_metadata_keys=["on"], start_char_idx=3),
        IndexNode(id_="index", text="i", index_id="other", obj=None),
        ImageNode(id_="image", text="", image="aGk="),
        Node(id_="node", text_resource=MediaResource(text="t", mimetype="text/plain")),
        Document(id_="document", text="d", metadata={"title": "T"}),
        ImageDocument(id_="picture", text="p", image_mimetype="image/png"),
    ]
    for at, node in enumerate(nodes):
        node.embedding = [1.0, float(at)]
    ids = shelf.add(nodes)
    found = shelf.get_nodes(ids)
    for node in nodes:
        node.embedding = None
    assert [type(node) for node in found] == [type(node) for node in nodes]
    assert [node.model_dump() for node in found] == [node.model_dump() for node in nodes]
    assert [node.hash for node in found] == [node.hash for node in nodes]


def test_nodes_are_read_and_deleted_by_id_and_filter(shelf, model):
    build(shelf, model)
    by_text = {node.text: node.node_id for node in shelf.get_nodes()}
    ids = [by_text["open a network socket"], "nobody", by_text["read a csv file"]]
    assert [node.node_id for node in shelf.get_nodes(ids)] == [ids[0], ids[2]]
    assert [node.node_id for node in shelf.get_nodes(ids, FILES)] == [ids[2]]
    shelf.delete_nodes([])
    shelf.delete_nodes(ids, FILES)
    assert {node.ref_doc_id for node in shelf.get_nodes()} == {"write", "socket"}
    shelf.delete_nodes(filters=FILES)
    assert {node.ref_doc_id for node in shelf.get_nodes()} == {"socket"}
    with pytest.raises(InvalidInputError, match="clear"):
        shelf.delete_nodes()
    shelf.clear()
    assert shelf.get_nodes() == []


def test_a_query_is_kept_to_nodes_and_documents(shelf, model):
    build(shelf, model)
    vector = model.get_query_embedding("file")
    nodes = {node.ref_doc_id: node.node_id for node in shelf.get_nodes()}
    by_node = VectorStoreQuery(vector, similarity_top_k=5, node_ids=[nodes["socket"], nodes["read"]])
    assert set(shelf.query(by_node).ids) == {nodes["socket"], nodes["read"]}
    by_document = VectorStoreQuery(vector, similarity_top_k=5, doc_ids=["write"])
    assert shelf.query(by_document).ids == [nodes["write"]]
    assert shelf.query(VectorStoreQuery(vector, similarity_top_k=5, doc_ids=[])).ids == []


def test_an_empty_store_answers_with_nothing(shelf):
    vector = [1.0, 0.0]
    for mode in MODES:
        query = VectorStoreQuery(vector, query_str="csv", mode=VectorStoreQueryMode(mode))
        assert shelf.query(query).nodes == []
    assert shelf.get_nodes(["a"]) == []
    shelf.delete("a")
    shelf.delete_nodes(["a"])
    shelf.clear()
    assert shelf.add([]) == []


def test_async_calls_do_as_the_others(shelf):
    async def work() -> tuple[object, object]:
        await asyncio.gather(*(shelf.async_add([vector_node(f"n{n}", [1.0, float(n)])]) for n in range(5)))
        await shelf.adelete_nodes(["n0"])
        await shelf.adelete("n1")
        found = await shelf.aquery(VectorStoreQuery([1.0, 4.0], similarity_top_k=2))
        nodes = await shelf.aget_nodes()
        await shelf.aclear()
        return found.ids, {node.node_id for node in nodes}

    assert asyncio.run(work()) == (["n4", "n3"], {"n2", "n3", "n4"})
    assert shelf.get_nodes() == []


def test_alpha_weighs_the_legs_and_the_keyword_modes_have_their_own_k(small):
    small.add([vector_node("near", [1.0, 0.0], "alpha"), vector_node("far", [0.0, 1.0], "beta")])
    hybrid = VectorStoreQuery([1.0, 0.0], 2, query_str="beta", mode=VectorStoreQueryMode.HYBRID)
    hybrid.alpha = 1.0
    assert small.query(hybrid).ids[0] == "near"
    hybrid.alpha, hybrid.hybrid_top_k = 0.0, 1
    assert small.query(hybrid).ids == ["far"]


def test_difference_is_weighed_by_the_threshold(small):
    small.add([vector_node("a", [1.0, 0.1]), vector_node("b", [1.0, 0.11]), vector_node("c", [0.5, 1.0])])
    query = VectorStoreQuery([1.0, 0.1], 2, mode=VectorStoreQueryMode.MMR)
    assert small.query(query, mmr_threshold=1.0).ids == ["a", "b"]
    assert small.query(query, mmr_threshold=0.1).ids == ["a", "c"]
    assert small.query(query, mmr_threshold=0.1, mmr_prefetch_k=2).ids == ["a", "b"]


def test_what_cannot_be_asked_or_kept_is_an_error(small, model):
    small.add([vector_node("a", [1.0, 0.0])])
    assert small.query(VectorStoreQuery([1.0, 0.0], 0)).ids == []
    for wrong in ([vector_node("b", [1.0])], [vector_node("b", [1.0, 2.0]), vector_node("c", [1.0])], [TextNode()]):
        with pytest.raises(InvalidInputError):
            small.add(wrong)
    strange = TextNode(id_="b", text="b", embedding=[1.0, 0.0], metadata={"f": object()})
    near = TextNode(id_="c", text="c", embedding=[1.0, 0.0])
    near.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="d", metadata={"f": object()})
    for node in (strange, near):
        with pytest.raises(InvalidInputError, match="metadata"):
            small.add([node])
    with pytest.raises(InvalidInputError, match="shape"):
        small.query(VectorStoreQuery([1.0, 0.0, 0.0]))
    with pytest.raises(InvalidInputError, match="embedding"):
        small.query(VectorStoreQuery(query_str="a"))
    with pytest.raises(InvalidInputError, match="empty"):
        small.query(VectorStoreQuery([1.0, 0.0], mode=VectorStoreQueryMode.HYBRID))
    with pytest.raises(UnsupportedError, match="svm"):
        small.query(VectorStoreQuery([1.0, 0.0], mode=VectorStoreQueryMode.SVM))
    with pytest.raises(UnsupportedError, match="semantic_hybrid"):
        small.query(VectorStoreQuery([1.0, 0.0], mode=VectorStoreQueryMode.SEMANTIC_HYBRID))


def test_a_model_that_was_named_is_remembered(database, model):
    named = QvecVectorStore.connect(database, "named", embed_model=model)
    build(named, model)
    passport = named.collection.describe().passport
    assert passport is not None
    assert passport.model_id == "bundled"
    other = QvecVectorStore.connect(database, "named", embed_model=QvecEmbedding(model_name="hashing"))
    with pytest.raises(PassportMismatchError, match="hashing"):
        build(other, QvecEmbedding(model_name="hashing"))


def test_records_that_qvec_wrote_itself_are_nodes(database):
    database.collection("own", model="bundled").index([{"id": "a", "text": "one", "source": "book", "page": 3}])
    [node] = QvecVectorStore.connect(database, "own").get_nodes()
    assert (node.node_id, node.get_content(), node.metadata, node.ref_doc_id) == ("a", "one", {"page": 3}, "book")
