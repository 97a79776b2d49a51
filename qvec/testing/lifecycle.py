"""Collections come and go, keep their shape and passport, and outlive the connection where the database lasts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from qvec.adapter import Adapter, SupportsCreateSteps
from qvec.errors import CollectionExistsError, CollectionNotFoundError, ConfigError, QvecError, UnsupportedError
from qvec.registry import open_adapter
from qvec.testing.base import Connection, SuiteBase, fill, fresh_name, ids_of, make, need_metric, scan_all
from qvec.testing.corpus import CORPUS, DIM, query_vectors
from qvec.types import CollectionSpec, Document, IndexSpec, Metric, Passport
from qvec.uri import URI

PASSPORT = Passport(
    model_id="Qwen/Qwen3-Embedding-0.6B 'zitiert' \"模型\" 🚀",
    revision="a1b2c3",
    dim=DIM,
    pooling="last",
    prompt_digest="sha256:00ff",
    normalized=False,
    chunker="tree-sitter 3",
    lexical_version="1",
)


class LifecycleTests(SuiteBase):
    """Creating, describing, listing, dropping, closing, reopening."""

    def test_a_name_is_declared(self, adapter: Adapter) -> None:
        assert adapter.name
        assert adapter.capabilities.database
        assert adapter.capabilities.metrics
        assert adapter.capabilities.write_batch >= 1

    @pytest.mark.parametrize("metric", list(Metric))
    def test_describe_reports_what_was_created(self, adapter: Adapter, name: str, metric: Metric) -> None:
        need_metric(adapter, metric)
        adapter.create_collection(CollectionSpec(name, DIM, metric, passport=PASSPORT))
        described = adapter.describe_collection(name)
        assert (described.name, described.dim, described.metric) == (name, DIM, metric)
        assert described.passport == PASSPORT

    def test_a_collection_without_passport_has_none(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        assert adapter.describe_collection(name).passport is None

    def test_a_new_collection_is_empty(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        adapter.refresh(name)
        assert adapter.count(name) == 0
        assert scan_all(adapter, name) == []
        assert adapter.search_dense(name, query_vectors(2), k=3) == [[], []]
        if adapter.capabilities.lexical:
            assert adapter.search_lexical(name, ["anything", ""], k=3) == [[], []]

    def test_collections_are_listed_in_order_and_vanish_when_dropped(self, adapter: Adapter, name: str) -> None:
        names = sorted([f"{name}_b", f"{name}_a", f"{name}_C", name])
        for each in reversed(names):
            make(adapter, each)
        try:
            listed = adapter.list_collections()
            assert [each for each in listed if each in names] == names
            assert listed == sorted(listed)
        finally:
            for each in names:
                adapter.drop_collection(each, missing_ok=True)
        assert not set(names) & set(adapter.list_collections())

    def test_names_that_differ_in_case_are_two_collections(self, adapter: Adapter, name: str) -> None:
        other = name.upper()
        make(adapter, name)
        make(adapter, other)
        try:
            fill(adapter, name, [Document("a", "lower")])
            assert (adapter.count(name), adapter.count(other)) == (1, 0)
        finally:
            adapter.drop_collection(other)
        assert adapter.count(name) == 1

    def test_a_name_of_48_characters_is_taken(self, adapter: Adapter, name: str) -> None:
        long = (name + "_" * 48)[:48]
        make(adapter, long)
        try:
            fill(adapter, long, [Document("a", "text")])
            assert adapter.count(long) == 1
        finally:
            adapter.drop_collection(long)

    def test_creating_twice_is_an_error_that_keeps_the_data(self, adapter: Adapter, name: str) -> None:
        spec = make(adapter, name)
        fill(adapter, name, [Document("a", "text")])
        with pytest.raises(CollectionExistsError, match=name):
            adapter.create_collection(spec)
        assert adapter.count(name) == 1

    def test_exist_ok_keeps_the_data_and_the_first_passport(self, adapter: Adapter, name: str) -> None:
        adapter.create_collection(CollectionSpec(name, DIM, passport=PASSPORT))
        fill(adapter, name, [Document("a", "text")])
        adapter.create_collection(CollectionSpec(name, DIM), exist_ok=True)
        assert adapter.count(name) == 1
        assert adapter.describe_collection(name).passport == PASSPORT

    def test_threads_may_create_the_same_collection_at_once(self, adapter: Adapter, name: str) -> None:
        spec = CollectionSpec(name, DIM)
        with ThreadPoolExecutor(4) as threads:
            for made in [threads.submit(adapter.create_collection, spec, exist_ok=True) for _ in range(4)]:
                made.result()
        assert adapter.describe_collection(name).dim == DIM

    def test_threads_that_end_leave_nothing_behind(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        for _ in range(150):
            with ThreadPoolExecutor(1) as threads:
                assert threads.submit(adapter.count, name).result() == 0

    def test_exist_ok_refuses_another_dim(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        with pytest.raises(CollectionExistsError, match=str(DIM)):
            adapter.create_collection(CollectionSpec(name, DIM + 8), exist_ok=True)
        assert adapter.describe_collection(name).dim == DIM

    def test_exist_ok_refuses_another_metric(self, adapter: Adapter, name: str) -> None:
        need_metric(adapter, Metric.L2)
        make(adapter, name)
        with pytest.raises(CollectionExistsError):
            adapter.create_collection(CollectionSpec(name, DIM, Metric.L2), exist_ok=True)
        assert adapter.describe_collection(name).metric is Metric.COSINE

    def test_a_dropped_collection_can_be_made_again_with_another_shape(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, [Document("a", "needle")])
        adapter.drop_collection(name)
        make(adapter, name, dim=DIM * 2)
        adapter.refresh(name)
        assert adapter.count(name) == 0
        assert adapter.search_dense(name, query_vectors(1, dim=DIM * 2), k=3) == [[]]

    def test_dropping_what_is_not_there(self, adapter: Adapter, name: str) -> None:
        adapter.drop_collection(name, missing_ok=True)
        with pytest.raises(CollectionNotFoundError, match=name):
            adapter.drop_collection(name)

    def test_a_dim_beyond_the_limit_is_refused_and_leaves_nothing(self, adapter: Adapter, name: str) -> None:
        limit = adapter.capabilities.max_dim
        if limit is None:
            pytest.skip("declares no limit of the dim")
        with pytest.raises(UnsupportedError, match=str(limit)):
            make(adapter, name, dim=limit + 1)
        if isinstance(adapter, SupportsCreateSteps):
            with pytest.raises(UnsupportedError, match=str(limit)):
                adapter.create_steps(CollectionSpec(name, limit + 1))
        assert name not in adapter.list_collections()

    @pytest.mark.parametrize("metric", list(Metric))
    def test_a_metric_that_is_not_declared_is_refused(self, adapter: Adapter, name: str, metric: Metric) -> None:
        if metric in adapter.capabilities.metrics:
            pytest.skip("declares this metric")
        with pytest.raises(UnsupportedError):
            make(adapter, name, metric=metric)

    @pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
    def test_each_index_kind_works_or_is_refused_as_declared(self, adapter: Adapter, name: str, kind: str) -> None:
        spec = CollectionSpec(name, DIM, index=IndexSpec(kind))  # type: ignore[arg-type]
        if kind not in adapter.capabilities.index_kinds:
            with pytest.raises(UnsupportedError):
                adapter.create_collection(spec)
            return
        adapter.create_collection(spec)
        vectors = fill(adapter, name, CORPUS)
        for at in (0, len(CORPUS) - 1):
            [hits] = adapter.search_dense(name, vectors[at : at + 1], k=1)
            assert ids_of(hits) == [CORPUS[at].id]

    def test_an_unknown_option_in_the_uri_is_refused_by_name(self, adapter_uri: str) -> None:
        address = URI.parse(adapter_uri)
        wrong = replace(address, options={**address.options, "no_such_option": "1"})
        with pytest.raises(ConfigError, match="no_such_option"):
            open_adapter(wrong)

    def test_closing_twice_does_nothing_and_later_calls_are_typed_errors(
        self, connection: Connection, name: str
    ) -> None:
        if connection.adapter.capabilities.persistent:
            closed = connection.adapter
            closed.close()
        else:
            closed = open_adapter(connection.uri)
            closed.close()
        try:
            closed.close()
            with pytest.raises(QvecError):
                closed.count(name)
            with pytest.raises(QvecError):
                closed.list_collections()
        finally:
            if closed is connection.adapter:
                connection.reopen()

    def test_what_was_refreshed_is_there_after_reopening(self, connection: Connection, name: str) -> None:
        if not connection.adapter.capabilities.persistent:
            pytest.skip("declares that it does not outlive the connection")
        connection.adapter.create_collection(CollectionSpec(name, DIM, Metric.COSINE, passport=PASSPORT))
        vectors = fill(connection.adapter, name, CORPUS)
        dense = connection.adapter.search_dense(name, vectors[:3], k=5)
        again = connection.reopen()
        assert name in again.list_collections()
        assert again.describe_collection(name).passport == PASSPORT
        assert again.count(name) == len(CORPUS)
        assert again.get(name, [CORPUS[1].id]) == [CORPUS[1]]
        assert [ids_of(hits) for hits in again.search_dense(name, vectors[:3], k=5)] == [ids_of(hits) for hits in dense]
        if again.capabilities.lexical:
            [hits] = again.search_lexical(name, ["needle"], k=5)
            assert ids_of(hits) == ["short", "long"]
        fill(again, name, [Document("later", "written after reopening")])
        assert again.count(name) == len(CORPUS) + 1

    def test_two_collections_do_not_share_documents(self, adapter: Adapter, name: str) -> None:
        other = fresh_name()
        make(adapter, name)
        make(adapter, other)
        try:
            fill(adapter, name, [Document("a", "needle one")])
            fill(adapter, other, [Document("a", "needle two"), Document("b", "needle three")])
            adapter.delete(other, ["a"])
            adapter.refresh(other)
            assert [document.text for document in scan_all(adapter, name)] == ["needle one"]
            assert [document.text for document in scan_all(adapter, other)] == ["needle three"]
        finally:
            adapter.drop_collection(other)
