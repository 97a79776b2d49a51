"""Keyword search: the same tokens, scores and order as the reference, whatever the database's own analysers do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import pytest

from qvec.adapter import Adapter
from qvec.errors import CollectionExistsError, InvalidInputError, UnsupportedError
from qvec.filters import Compare, Filter, Op
from qvec.memory import MemoryAdapter
from qvec.testing.base import SuiteBase, fill, ids_of, in_order, make, need_lexical
from qvec.testing.corpus import BAD_DAYS, CORPUS, DIM, NASTY_TEXTS, QUERIES, numbered
from qvec.types import CollectionSpec, Document

TOLERANCE = 1e-3


class LexicalTests(SuiteBase):
    """search_lexical."""

    @pytest.mark.parametrize("query", QUERIES)
    def test_ranking_and_scores_equal_the_reference(self, adapter: Adapter, corpus: str, query: str) -> None:
        agree(adapter, corpus, CORPUS, [query])

    def test_a_batch_of_queries_answers_each(self, adapter: Adapter, corpus: str) -> None:
        agree(adapter, corpus, CORPUS, QUERIES)

    def test_chinese_words_find_a_chinese_docstring(self, adapter: Adapter, corpus: str) -> None:
        [hits] = adapter.search_lexical(corpus, ["读取文件"], k=3)
        assert hits[0].id == "read_zh"

    def test_parts_of_an_identifier_find_it(self, adapter: Adapter, corpus: str) -> None:
        found = adapter.search_lexical(corpus, ["csv", "READCSVFILE", "request", "httpserver2"], k=1)
        assert [ids_of(hits) for hits in found] == [["mixed"], ["read_csv"], ["http"], ["http"]]

    def test_a_word_of_the_title_finds_the_document(self, adapter: Adapter, corpus: str) -> None:
        assert [ids_of(hits) for hits in adapter.search_lexical(corpus, ["argparse", "分析"], k=5)] == [
            ["parse_args"],
            ["mixed"],
        ]

    @pytest.mark.parametrize("query", ["", "   ", "...", "🚀", "nosuchword", "'", '"', "*", "()"])
    def test_a_query_without_a_known_token_finds_nothing(self, adapter: Adapter, corpus: str, query: str) -> None:
        assert adapter.search_lexical(corpus, [query], k=5) == [[]]

    @pytest.mark.parametrize("query", NASTY_TEXTS)
    def test_any_text_can_be_a_query(self, adapter: Adapter, corpus: str, query: str) -> None:
        agree(adapter, corpus, CORPUS, [query])

    @pytest.mark.parametrize("case", BAD_DAYS)
    def test_a_query_of_a_bad_day_ranks_as_the_reference(self, adapter: Adapter, corpus: str, case: str) -> None:
        agree(adapter, corpus, CORPUS, [BAD_DAYS[case]])

    def test_a_query_of_twenty_thousand_words_is_answered(self, adapter: Adapter, corpus: str) -> None:
        words = " ".join("zq" + "".join(letters) for letters in product("abcdefghijkl", repeat=4))
        [hits] = adapter.search_lexical(corpus, [f"needle {words}"], k=2)
        assert ids_of(hits) == ["short", "long"]

    def test_a_filter_narrows_the_hits_but_not_the_statistics(self, adapter: Adapter, corpus: str) -> None:
        agree(adapter, corpus, CORPUS, QUERIES, filter=Compare("lang", Op.EQ, "zh"))

    def test_offset_goes_on_where_the_last_page_ended(self, adapter: Adapter, corpus: str) -> None:
        [everything] = adapter.search_lexical(corpus, ["the file of 文件 读取"], k=100)
        assert len(everything) > 5
        pages = [
            adapter.search_lexical(corpus, ["the file of 文件 读取"], k=3, offset=at)[0] for at in (0, 3, 6, 9, 12)
        ]
        assert ids_of([hit for page in pages for hit in page]) == ids_of(everything)[:15]

    def test_hits_carry_the_whole_document(self, adapter: Adapter, corpus: str) -> None:
        [[hit]] = adapter.search_lexical(corpus, ["argparse"], k=1)
        assert hit.document == next(document for document in CORPUS if document.id == "parse_args")
        assert type(hit.score) is float

    def test_equal_scores_stand_by_id_and_the_cut_keeps_the_smallest(self, adapter: Adapter, name: str) -> None:
        need_lexical(adapter)
        make(adapter, name)
        ids = [f"tie{i:02}" for i in range(40)]
        shuffled = random.Random(5).sample(ids, len(ids))
        fill(adapter, name, [Document(id, "needle in hay") for id in shuffled[:25]])
        others = [Document(id, "needle in hay") for id in shuffled[25:]]
        fill(adapter, name, [*others, Document("zzz best", "needle needle needle")])
        for k in (1, 2, 7, 100):
            [hits] = adapter.search_lexical(name, ["needle"], k=k)
            assert ids_of(hits) == ["zzz best", *ids][:k]

    def test_scores_stay_right_after_updates_and_deletes(self, adapter: Adapter, name: str) -> None:
        need_lexical(adapter)
        make(adapter, name)
        fill(adapter, name, CORPUS)
        changed = [
            Document("short", "thread and yarn 读取文件"),
            Document("long", "needle", {"title": "shorter now"}),
            Document("blank", "needle file file file"),
            Document("new", "文件 needle"),
        ]
        fill(adapter, name, changed)
        gone = {"read_csv", "hebrew", "parse_args"}
        adapter.delete(name, [*gone, "no such id"])
        adapter.refresh(name)
        current = {document.id: document for document in [*CORPUS, *changed] if document.id not in gone}
        agree(adapter, name, list(current.values()), QUERIES)

    def test_scores_are_right_when_all_but_one_are_deleted(self, adapter: Adapter, name: str) -> None:
        need_lexical(adapter)
        make(adapter, name)
        fill(adapter, name, CORPUS)
        adapter.delete(name, [document.id for document in CORPUS if document.id != "long"])
        adapter.refresh(name)
        agree(adapter, name, [document for document in CORPUS if document.id == "long"], ["needle hay"])

    def test_a_filter_of_one_percent_does_not_starve_the_search(self, adapter: Adapter, name: str) -> None:
        need_lexical(adapter)
        make(adapter, name)
        fill(adapter, name, numbered(2000))
        [hits] = adapter.search_lexical(name, ["document number"], k=20, filter=Compare("rare", Op.EQ, True))
        assert ids_of(hits) == [f"doc{i:05}" for i in range(7, 2000, 100)]

    def test_the_first_hits_are_the_reference_s_whatever_is_left_unread(self, adapter: Adapter, name: str) -> None:
        need_lexical(adapter)
        drawn = random.Random(7)
        documents = [
            Document(f"d{number:03}", " ".join(words_of(drawn, drawn.randint(1, 60))), {"tenth": number % 10 == 0})
            for number in range(300)
        ]
        # The best two hold both less rare words, and score but little more than those with the rarest.
        documents += [Document(f"r{number:03}", "rare " * 6 + "w1 " * (number % 3)) for number in range(14)]
        documents += [Document(f"s{number:03}", "some " * 3 + "w1 " * (number % 7)) for number in range(60)]
        documents += [Document(f"t{number:03}", "other " * 3 + "w1 " * (number % 7)) for number in range(60)]
        documents += [Document(f"u{number}", "some other " * 12) for number in range(2)]
        queries = ["w1 w2", "rare some other", *(" ".join(words_of(drawn, size)) for size in (3, 6, 12, 12))]
        reference = MemoryAdapter()
        for each in (adapter, reference):
            make(each, name)
            fill(each, name, documents)
        for filter in (None, Compare("tenth", Op.EQ, True)):
            for k, offset in ((1, 0), (5, 0), (5, 20), (150, 0)):
                wanted = reference.search_lexical(name, queries, k=k, offset=offset, filter=filter)
                found = adapter.search_lexical(name, queries, k=k, offset=offset, filter=filter)
                assert [ids_of(hits) for hits in found] == [ids_of(hits) for hits in wanted]

    def test_a_missing_keyword_leg_is_said(self, adapter: Adapter, name: str) -> None:
        if adapter.capabilities.lexical:
            pytest.skip("declares a keyword leg")
        make(adapter, name)
        with pytest.raises(UnsupportedError):
            adapter.search_lexical(name, ["text"], k=3)

    def test_a_collection_remembers_the_analyzer_that_it_was_made_with(self, adapter: Adapter, name: str) -> None:
        analyzer = need_analyzer(adapter)
        adapter.create_collection(CollectionSpec(name, DIM, analyzer=analyzer))
        assert adapter.describe_collection(name).analyzer == analyzer
        adapter.create_collection(CollectionSpec(name, DIM, analyzer=analyzer), exist_ok=True)
        with pytest.raises(CollectionExistsError, match=analyzer):
            adapter.create_collection(CollectionSpec(name, DIM), exist_ok=True)

    def test_an_analyzer_that_is_not_there_is_refused_and_nothing_is_made(self, adapter: Adapter, name: str) -> None:
        refusal = InvalidInputError if adapter.capabilities.analyzers else UnsupportedError
        with pytest.raises(refusal, match="no_such_analyzer"):
            adapter.create_collection(CollectionSpec(name, DIM, analyzer="no_such_analyzer"))
        assert name not in adapter.list_collections()

    def test_the_database_s_english_finds_a_word_in_its_other_forms(self, adapter: Adapter, name: str) -> None:
        english(adapter, name)
        found = adapter.search_lexical(name, ["run", "the", "Runs quickly", "nosuchword", "...", ""], k=5)
        assert [set(ids_of(hits)) for hits in found] == [{"running", "ran"}, set(), {"running", "ran"}, *[set()] * 3]
        assert ids_of(found[0])[0] == "running"
        assert all(in_order(hits) and all(hit.score > 0 for hit in hits) for hits in found)

    def test_a_title_counts_and_a_filter_and_an_offset_narrow_with_an_analyzer(
        self, adapter: Adapter, name: str
    ) -> None:
        english(adapter, name)
        [of_title] = adapter.search_lexical(name, ["jumped"], k=5)
        [filtered] = adapter.search_lexical(name, ["runner running"], k=5, filter=Compare("odd", Op.EQ, True))
        [everything] = adapter.search_lexical(name, ["run jump"], k=5)
        [rest] = adapter.search_lexical(name, ["run jump"], k=5, offset=1)
        assert ids_of(of_title) == ["titled"]
        assert ids_of(filtered) == ["ran"]
        assert rest == everything[1:]
        assert everything[0].document in ENGLISH

    def test_what_was_replaced_or_deleted_is_not_found_with_an_analyzer(self, adapter: Adapter, name: str) -> None:
        english(adapter, name)
        fill(adapter, name, [Document("running", "swimming all day")])
        adapter.delete(name, ["ran"])
        adapter.refresh(name)
        assert [ids_of(hits) for hits in adapter.search_lexical(name, ["run", "swims"], k=5)] == [[], ["running"]]

    def test_a_query_of_very_many_words_is_answered_with_an_analyzer(self, adapter: Adapter, name: str) -> None:
        english(adapter, name)
        words = " ".join("zq" + "".join(letters) for letters in product("abcdefghij", repeat=4))
        assert ids_of(adapter.search_lexical(name, [f"jumping {words}"], k=2)[0]) == ["titled"]


ENGLISH = [
    Document("running", "he was running and running through the fields"),
    Document("ran", "who runs the server decides", {"odd": True}),
    Document("titled", "nothing of the kind", {"title": "Jumping"}),
    Document("none", "the quiet library", {"odd": True}),
]


def words_of(drawn: random.Random, count: int) -> list[str]:
    """Draw words of which few are in most texts and most in few."""
    return [f"w{min(int(drawn.paretovariate(0.5)), 2000)}" for _ in range(count)]


def need_analyzer(adapter: Adapter) -> str:
    """Name one of the analyzers that the adapter declares; skip where it declares none."""
    if not adapter.capabilities.analyzers:
        pytest.skip("declares no analyzers in its capabilities")
    return adapter.capabilities.analyzers[0]


def english(adapter: Adapter, name: str) -> None:
    """Make a collection of `ENGLISH` with the database's analyzer of that name; skip where it declares none."""
    if "english" not in adapter.capabilities.analyzers:
        pytest.skip("declares no analyzer english in its capabilities")
    adapter.create_collection(CollectionSpec(name, DIM, analyzer="english"))
    fill(adapter, name, ENGLISH)


def agree(
    adapter: Adapter, name: str, documents: Sequence[Document], queries: Sequence[str], *, filter: Filter | None = None
) -> None:
    """Compare the answers of an adapter with the reference's for the same documents."""
    reference = MemoryAdapter()
    make(reference, "reference")
    fill(reference, "reference", documents)
    expected = reference.search_lexical("reference", queries, k=100, filter=filter)
    found = adapter.search_lexical(name, queries, k=100, filter=filter)
    assert len(found) == len(queries)
    for query, wanted, got in zip(queries, expected, found, strict=True):
        exact = {hit.id: hit.score for hit in wanted}
        assert {hit.id: hit.score for hit in got} == pytest.approx(exact, abs=TOLERANCE), query
        assert in_order(got), query
