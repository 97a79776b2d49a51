"""Milvus Lite: collections whose words its own analyzers make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.errors import UnsupportedError
from qvec.registry import embedded_uri, open_adapter
from qvec.types import CollectionSpec, Document

TEXTS = [
    Document("read", "读取文件的全部内容，并返回。"),
    Document("write", "写入数据库：a_b"),
    Document("latin", "Running files: a_b, FILES"),
]


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    opened = open_adapter(embedded_uri("milvus", tmp_path))
    yield opened
    opened.close()


def filled(adapter: Adapter, analyzer: str) -> None:
    adapter.create_collection(CollectionSpec("words", 2, analyzer=analyzer))
    adapter.upsert("words", TEXTS, np.ones((len(TEXTS), 2), np.float32))
    adapter.refresh("words")


def ids(adapter: Adapter, query: str) -> list[str]:
    return [hit.id for hit in adapter.search_lexical("words", [query], k=5)[0]]


def test_chinese_finds_the_words_that_jieba_cuts(adapter: Adapter) -> None:
    if "chinese" not in adapter.capabilities.analyzers:
        pytest.skip("declares no analyzer chinese in its capabilities")
    filled(adapter, "chinese")
    assert ids(adapter, "全部内容") == ["read"]
    assert ids(adapter, "数据库") == ["write"]
    assert ids(adapter, "files") == ["latin"]
    assert ids(adapter, "，。：_") == []


def test_standard_takes_words_as_they_stand(adapter: Adapter) -> None:
    filled(adapter, "standard")
    assert ids(adapter, "files") == ["latin"]
    assert ids(adapter, "file") == []
    assert set(ids(adapter, "A_B")) == {"latin", "write"}
    [[hit]] = adapter.search_lexical("words", ["files"], k=5)
    adapter.delete("words", ["read"])
    adapter.refresh("words")
    [[rarer]] = adapter.search_lexical("words", ["files"], k=5)
    assert rarer.score < hit.score


def test_an_analyzer_of_servers_is_refused_with_the_version_that_has_it(adapter: Adapter) -> None:
    with pytest.raises(UnsupportedError, match=r"Milvus Lite.*'english' needs a Milvus server of 2\.5 or later"):
        adapter.create_collection(CollectionSpec("words", 2, analyzer="english"))
    assert adapter.list_collections() == []
