"""What frameworks wrote with settings of their users' own is read where it lies, too."""

from __future__ import annotations

import pytest

from qvec.database import connect
from qvec.layouts import FieldMap
from tests.integrations.foreign_writers import (
    DOCUMENTS,
    embeddings,
    fields,
    framework,
    llamaindex_store,
    milvus_place,
    model,
)
from tests.integrations.test_foreign import milvus, postgres

__all__ = ["milvus", "postgres"]  # fixtures


def check(uri: str, layout: str | FieldMap, name: str) -> None:
    with connect(uri, layout=layout) as database:
        collection = database.collection(name, embedder=model())
        assert collection.get([document.id for document in DOCUMENTS]) == list(DOCUMENTS)
        for mode in ("dense", "lexical", "hybrid"):
            hits = collection.search("read a csv file", k=2, mode=mode, where="lang = 'py' and stars >= 3")
            assert [hit.id for hit in hits] == ["a", "b"], mode


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        ({"index_params": {"index_type": "FLAT", "metric_type": "IP"}}, "langchain"),
        (
            {"primary_field": "key", "text_field": "body", "vector_field": "place"},
            FieldMap(id="key", text="body", vector="place"),
        ),
        ({"metadata_field": "about"}, FieldMap(id="pk", text="text", vector="vector", metadata="about")),
    ],
)
def test_a_langchain_milvus_collection_of_otherfields(milvus, options, layout):
    framework("langchain_milvus")
    from langchain_milvus import Milvus

    name = "_".join(["other", *options])
    store = Milvus(embeddings(), connection_args=milvus_place(milvus), collection_name=name, **options)
    store.add_texts(**fields(DOCUMENTS))
    store.client.close()
    check(milvus, layout, name)


@pytest.mark.parametrize(
    ("options", "search_path"),
    [
        ({"hybrid_search": True, "text_search_config": "english"}, ""),
        ({"use_halfvec": True, "use_jsonb": True}, ""),
        ({"schema_name": "other"}, "other,public"),
    ],
)
def test_a_llamaindex_table_of_another_shape_or_schema(postgres, options, search_path):
    name = "_".join(options)
    store = llamaindex_store(postgres, name, **options)
    from llama_index.core.schema import TextNode

    vectors = model().encode_document([document.text for document in DOCUMENTS])
    store.add(
        [
            TextNode(id_=each.id, text=each.text, metadata=dict(each.metadata), embedding=vector.tolist())
            for each, vector in zip(DOCUMENTS, vectors, strict=True)
        ]
    )
    store._engine.dispose()
    place = f"{postgres}&options=-csearch_path%3D{search_path}" if search_path else postgres
    check(place, "llamaindex", name)
