"""Reranking as a stage of the search: order, budgets, and what is told of hits that were not scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from qvec.collection import Collection
from qvec.database import Database, connect
from qvec.errors import ConfigError, EndpointError, InvalidInputError
from qvec.reranker import OUT_OF_TIME, Relevance, Reranker
from qvec.types import Document
from tests.core.rerank_endpoint import RerankEndpoint

QUERY = "red apple"
DOCS = [
    Document(f"d{size:02}", f"red apple {'filler ' * size}", {"size": size, "title": "fruit"}) for size in range(20)
]


class LongestFirst(Reranker):
    """Prefers long documents, and notes what it was asked."""

    model_id = "longest"
    max_tokens = 1000
    takes_instructions = True

    def __init__(self, *, scored: int = 1000) -> None:
        self.scored = scored
        self.asked: list[tuple[str, list[str], str | None, float | None]] = []

    def count_tokens(self, query: str, texts: Sequence[str], *, instruction: str | None = None) -> list[int]:
        return [len(text.split()) for text in texts]

    def score(
        self, query: str, texts: Sequence[str], *, instruction: str | None = None, seconds: float | None = None
    ) -> list[Relevance]:
        self.asked.append((query, list(texts), instruction, seconds))
        scores = [Relevance(len(text) / 1000, "cut" if len(text) > 140 else "") for text in texts]
        return [*scores[: self.scored], *[Relevance(None, OUT_OF_TIME)] * len(scores[self.scored :])]


@pytest.fixture
def fruit() -> Iterator[Collection]:
    with connect("memory://", model="hashing") as database:
        fruit = database.collection("fruit")
        fruit.index(DOCS)
        yield fruit


def ids(hits):
    return [hit.id for hit in hits]


def test_the_reranker_s_order_replaces_the_fused_one(fruit):
    fused = fruit.search(QUERY, k=20)
    found = fruit.search(QUERY, k=20, rerank=LongestFirst())
    assert ids(fused)[0] == "d00"
    assert ids(found) == [f"d{size:02}" for size in reversed(range(20))]
    assert [hit.legs[-1].rank for hit in found] == list(range(1, 21))
    assert all(hit.score == hit.legs[-1].score == hit.legs[-1].contribution for hit in found)
    assert found[0].legs[-1].note == "cut"
    before = {hit.id: hit.legs for hit in fused}
    assert all(hit.legs[:-1] == before[hit.id] and hit.legs[-1].name == "rerank" for hit in found)


def test_it_reads_titles_gets_the_instruction_and_the_likeliest_first(fruit):
    reranker = LongestFirst()
    fused = fruit.search(QUERY, k=20)
    fruit.search(QUERY, k=3, rerank=reranker, rerank_depth=5, rerank_seconds=60, instruction="code_search")
    ((query, texts, instruction, seconds),) = reranker.asked
    assert (query, instruction) == (QUERY, "code_search")
    assert texts == [hit.document.searchable_text for hit in fused[:5]]
    assert texts[0].startswith("fruit\n")
    assert 0 < seconds <= 60
    reranker.takes_instructions = False
    fruit.search(QUERY, rerank=reranker, instruction="code_search")
    assert reranker.asked[-1][2] is None


def test_below_the_depth_the_fused_order_stays_and_is_told(fruit):
    fused = fruit.search(QUERY, k=20)
    found = fruit.search(QUERY, k=20, rerank=LongestFirst(), rerank_depth=5)
    assert ids(found)[:5] == sorted(ids(fused)[:5], reverse=True)
    assert ids(found)[5:] == ids(fused)[5:]
    assert {hit.legs[-1].note for hit in found[5:]} == {"not scored: below the first 5 hits"}
    assert [hit.score for hit in found[5:]] == [hit.score for hit in fused[5:]]


def test_the_token_budget_ends_at_the_first_hit_that_it_does_not_hold(fruit):
    fused = fruit.search(QUERY, k=20)
    reranker = LongestFirst()
    sizes = reranker.count_tokens(QUERY, [hit.document.searchable_text for hit in fused])
    found = fruit.search(QUERY, k=20, rerank=reranker, rerank_tokens=sum(sizes[:4]) + sizes[4] - 1)
    assert len(reranker.asked[0][1]) == 4
    assert ids(found)[4:] == ids(fused)[4:]
    assert {hit.legs[-1].note for hit in found[4:]} == {f"not scored: over the budget of {sum(sizes[:5]) - 1} tokens"}


def test_a_token_budget_for_nothing_leaves_the_fused_order(fruit):
    reranker = LongestFirst()
    assert ids(fruit.search(QUERY, rerank=reranker, rerank_tokens=1)) == ids(fruit.search(QUERY))
    assert reranker.asked == []


def test_what_there_was_no_time_for_keeps_the_fused_order_behind(fruit):
    fused = fruit.search(QUERY, k=20)
    found = fruit.search(QUERY, k=20, rerank=LongestFirst(scored=3), rerank_seconds=1)
    assert ids(found) == [*sorted(ids(fused)[:3], reverse=True), *ids(fused)[3:]]
    assert {hit.legs[-1].note for hit in found[3:]} == {OUT_OF_TIME}


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_pages_of_a_reranked_list_join(fruit, mode):
    whole = ids(fruit.search(QUERY, k=15, mode=mode, rerank=LongestFirst(), rerank_depth=8))
    pages = [
        ids(fruit.search(QUERY, k=5, offset=offset, mode=mode, rerank=LongestFirst(), rerank_depth=8))
        for offset in (0, 5, 10)
    ]
    assert [identity for page in pages for identity in page] == whole


def test_filters_hold_and_no_hits_stay_none(fruit):
    assert ids(fruit.search(QUERY, where="size < 2", rerank=LongestFirst())) == ["d01", "d00"]
    assert fruit.search(QUERY, where="size > 99", rerank=LongestFirst()) == []


@pytest.mark.parametrize("budget", [{"rerank_depth": 0}, {"rerank_tokens": 0}, {"rerank_seconds": 0.0}])
def test_a_budget_out_of_range_is_refused(fruit, budget):
    with pytest.raises(InvalidInputError, match=next(iter(budget))):
        fruit.search(QUERY, rerank=LongestFirst(), **budget)


def test_a_name_loads_the_reranker_and_an_unknown_one_is_an_error(database: Database):
    books = database.collection("books")
    books.index(
        [{"id": "1", "text": "red"}, {"id": "2", "text": "a red apple"}, {"id": "3", "text": "an apple, green"}]
    )
    with RerankEndpoint() as endpoint:
        found = books.search("red apple", rerank=f"rerank:{endpoint.name}")
        assert (found[0].id, found[0].score) == ("2", 1.0)
        assert sorted(hit.score for hit in found) == [0.5, 0.5, 1.0]
        endpoint.faults.answer = b"{}"
        with pytest.raises(EndpointError, match="list of scores"):
            books.search("red apple", rerank=f"rerank:{endpoint.name}")
    with pytest.raises(ConfigError, match="did you mean rerank"):
        books.search("red apple", rerank="rerenk")
