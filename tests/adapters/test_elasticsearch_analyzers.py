"""Elasticsearch: collections whose words its own analyzers make."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.errors import InvalidInputError
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, Document
from tests.adapters.elasticsearch_node import elasticsearch_uri

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]

TEXTS = [Document("read", "读取文件的全部内容"), Document("write", "写入数据库"), Document("english", "running files")]


@pytest.fixture(scope="module")
def adapter() -> Iterator[Adapter]:
    opened = open_adapter(elasticsearch_uri())
    yield opened
    for name in opened.list_collections():
        if name.startswith("analyzed_"):
            opened.drop_collection(name)
    opened.close()


def filled(adapter: Adapter, name: str, analyzer: str) -> str:
    adapter.drop_collection(name, missing_ok=True)
    adapter.create_collection(CollectionSpec(name, 2, analyzer=analyzer))
    adapter.upsert(name, TEXTS, np.ones((len(TEXTS), 2), np.float32))
    adapter.refresh(name)
    return name


def ids(adapter: Adapter, name: str, query: str) -> list[str]:
    return [hit.id for hit in adapter.search_lexical(name, [query], k=5)[0]]


def test_cjk_finds_chinese_words_by_their_pairs(adapter: Adapter) -> None:
    name = filled(adapter, "analyzed_cjk", "cjk")
    assert ids(adapter, name, "文件") == ["read"]
    assert ids(adapter, name, "数据") == ["write"]
    assert ids(adapter, name, "件文") == []


@pytest.mark.parametrize(("analyzer", "plugin"), [("smartcn", "analysis-smartcn"), ("icu", "analysis-icu")])
def test_a_plugin_s_analyzer_works_where_it_is_installed_and_is_named_where_not(
    adapter: Adapter, analyzer: str, plugin: str
) -> None:
    with adapter._connection.use() as client:
        installed = {row["component"] for row in client.cat.plugins(format="json")}
    if plugin in installed:
        assert ids(adapter, filled(adapter, f"analyzed_{analyzer}", analyzer), "文件") == ["read"]
        return
    with pytest.raises(InvalidInputError, match=rf"failed to find global analyzer.*{plugin}"):
        adapter.create_collection(CollectionSpec(f"analyzed_{analyzer}", 2, analyzer=analyzer))


def test_scores_have_the_scale_of_qvec_s_own_words(adapter: Adapter) -> None:
    name = filled(adapter, "analyzed_scale", "whitespace")
    own = filled(adapter, "analyzed_none", "whitespace")
    adapter.drop_collection(own)
    adapter.create_collection(CollectionSpec(own, 2))
    adapter.upsert(own, TEXTS, np.ones((len(TEXTS), 2), np.float32))
    adapter.refresh(own)
    [[hit]] = adapter.search_lexical(name, ["running"], k=1)
    [[same]] = adapter.search_lexical(own, ["running"], k=1)
    assert hit.score == pytest.approx(same.score, rel=0.5)


@pytest.mark.parametrize("query", ["文件" * 6000, "running " + "".join(map(chr, range(0x4E00, 0x9000)))])
def test_a_long_query_of_chinese_is_answered(adapter: Adapter, query: str) -> None:
    assert set(ids(adapter, filled(adapter, "analyzed_long", "cjk"), query)) & {"read", "english"}
