"""Filters: on the shared table and on random ones, what a database selects is what `filters.matches` selects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from qvec.adapter import Adapter
from qvec.filters import And, Compare, Exists, Filter, Not, Op, Or, matches
from qvec.testing.base import Connection, SuiteBase, fill, fresh_name, ids_of, make, scan_all
from qvec.testing.cases import FILTER_CASES, FILTER_DOCUMENTS
from qvec.testing.corpus import query_vectors
from qvec.types import Document

_FIELDS = ("a", "b", "a.b", "é'\"", "a\\.b")
_SCALARS = st.one_of(
    st.sampled_from(["", "a", "b", "ab", "'", "\\", '"', "%", "_", "1", "true", "读", "2024-02-29"]),
    st.integers(-2, 2),
    st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.5]),
    st.booleans(),
)
_VALUES = st.recursive(
    st.none() | _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
_METADATA = st.dictionaries(st.sampled_from(["a", "b", "é'\"", "a.b"]), _VALUES, max_size=4)
_STRINGS = st.sampled_from(["", "a", "ab", "%", "_", "\\", "'", "读"])
_ORDERED = _SCALARS.filter(lambda value: not isinstance(value, bool))
_CONDITIONS = st.one_of(
    st.builds(Exists, st.sampled_from(_FIELDS)),
    st.builds(Compare, st.sampled_from(_FIELDS), st.sampled_from([Op.EQ, Op.NE, Op.CONTAINS]), _SCALARS),
    st.builds(Compare, st.sampled_from(_FIELDS), st.sampled_from([Op.LT, Op.LE, Op.GT, Op.GE]), _ORDERED),
    st.builds(
        Compare,
        st.sampled_from(_FIELDS),
        st.sampled_from([Op.IN, Op.NOT_IN]),
        st.lists(_SCALARS, max_size=3).map(tuple),
    ),
    st.builds(Compare, st.sampled_from(_FIELDS), st.just(Op.STARTS_WITH), _STRINGS),
)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    _CONDITIONS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=5,
)
"""Random filters that fit the random metadata."""
READ_IN_EVERY_WAY = (
    "nested joins",
    "deeply nested",
    "empty or",
    "not not",
    "exists(deep)",
    "contains any",
    "many alternatives",
    """'name' == "O'Brien\"""",
    """"it's" == 'yes'""",
    "'name' == '%s $1 ? :name {x}'",
    "'语言' == '中文'",
    "'name' not in ['py', 'Py']",
)


class FilterTests(SuiteBase):
    """The portable filter."""

    @pytest.fixture(scope="class")
    @classmethod
    def filtered(cls, connection: Connection) -> Iterator[str]:
        """Keep the table's documents in one collection for all tests that only read."""
        name = fresh_name()
        make(connection.adapter, name)
        fill(connection.adapter, name, FILTER_DOCUMENTS)
        yield name
        connection.adapter.drop_collection(name, missing_ok=True)

    @pytest.mark.parametrize("case", FILTER_CASES)
    def test_a_filter_selects_what_matches_selects(self, adapter: Adapter, filtered: str, case: str) -> None:
        select_alike(adapter, filtered, FILTER_DOCUMENTS, FILTER_CASES[case])

    @pytest.mark.parametrize("case", FILTER_CASES)
    def test_its_negation_selects_the_rest(self, adapter: Adapter, filtered: str, case: str) -> None:
        select_alike(adapter, filtered, FILTER_DOCUMENTS, Not(FILTER_CASES[case]))

    @pytest.mark.parametrize("case", READ_IN_EVERY_WAY)
    def test_every_way_to_read_takes_the_same_filter(self, adapter: Adapter, filtered: str, case: str) -> None:
        filter = FILTER_CASES[case]
        expected = _expected(FILTER_DOCUMENTS, filter)
        assert sorted(d.id for d in scan_all(adapter, filtered, filter=filter, batch_size=3)) == expected
        assert adapter.count(filtered, filter=filter) == len(expected)
        found = adapter.search_dense(filtered, query_vectors(3), k=100, filter=filter)
        assert [sorted(ids_of(hits)) for hits in found] == [expected] * 3
        if adapter.capabilities.lexical:
            everything, kept = (
                adapter.search_lexical(filtered, ["mixed string nested quoted empty"], k=100, filter=each)[0]
                for each in (None, filter)
            )
            assert ids_of(kept) == [id for id in ids_of(everything) if id in expected]

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(metadata=st.lists(_METADATA, min_size=4, max_size=12), filters=st.lists(FILTERS, min_size=5, max_size=5))
    def test_random_filters_on_random_documents(
        self, adapter: Adapter, name: str, metadata: list[dict[str, object]], filters: list[Filter]
    ) -> None:
        adapter.drop_collection(name, missing_ok=True)
        make(adapter, name)
        documents = [Document(f"d{i:02}", "text", each) for i, each in enumerate(metadata)]  # type: ignore[arg-type]
        fill(adapter, name, documents)
        for filter in filters:
            select_alike(adapter, name, documents, filter)


def select_alike(adapter: Adapter, name: str, documents: Sequence[Document], filter: Filter) -> None:
    """Compare what a filter selects with what `filters.matches` does, by search and by count."""
    expected = _expected(documents, filter)
    [hits] = adapter.search_dense(name, query_vectors(1), k=100, filter=filter)
    assert sorted(ids_of(hits)) == expected
    assert adapter.count(name, filter=filter) == len(expected)


def _expected(documents: Sequence[Document], filter: Filter) -> list[str]:
    return sorted(document.id for document in documents if matches(filter, document.metadata))
