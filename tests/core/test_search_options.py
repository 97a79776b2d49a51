"""What a search can be told besides its query, on every embedded database."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from qvec.collection import Collection
from qvec.database import Database, connect
from qvec.errors import InvalidInputError, MissingDriverError
from qvec.fusion import FusionSpec, fuse
from qvec.registry import embedded_uri, open_adapter
from qvec.types import Document, Hit
from tests.conftest import EMBEDDED, required

WORDS = ("csv", "file", "read", "json", "parse", "string", "row", "table", "open", "close")
QUERY = "read a csv file row"


@pytest.fixture(scope="module", params=EMBEDDED)
def shelf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """A collection that the tests only read."""
    try:
        adapter = open_adapter(embedded_uri(request.param, tmp_path_factory.mktemp("shelf")))
    except MissingDriverError as exc:
        if required(request.param):
            raise
        pytest.skip(str(exc))
    with Database(adapter, model="hashing") as database:
        collection = database.collection("shelf")
        chunks = [
            Document(
                f"doc{at % 30:02}#{at // 30}",
                " ".join(WORDS[(at * step + step) % 10] for step in (1, 3, 7)) + f" number{at}",
                {"n": at},
                source=f"doc{at % 30:02}",
            )
            for at in range(120)
        ]
        assert collection.index(chunks).added == 120
        yield collection


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"weights": {"lexical": 0.3}},
        {"rank_constant": 5, "weights": {"dense": 2.0}},
        {"fusion": "linear"},
        {"fusion": "linear", "scaling": "z-score", "weights": {"dense": 0.7, "lexical": 0.3}},
    ],
)
def test_hybrid_is_the_fusion_of_both_whole_legs(shelf: Collection, how: dict) -> None:
    legs = {mode: shelf.search(QUERY, mode=mode, k=120) for mode in ("lexical", "dense")}
    given = {"weights": {"lexical": 1.0}, **how}
    spec = FusionSpec(
        method=given.get("fusion", "rrf"), **{key: value for key, value in given.items() if key != "fusion"}
    )
    expected = fuse(legs, spec)  # type: ignore[arg-type]
    found = shelf.search(QUERY, k=25, explain=True, **given)
    assert ids(found) == ids(expected[:25])
    for hit, wanted in zip(found, expected, strict=False):
        assert hit.score == pytest.approx(wanted.score)
        assert hit.relevance == pytest.approx(wanted.relevance)
        assert {leg.name: leg.rank for leg in hit.legs} == {leg.name: leg.rank for leg in wanted.legs}
    assert ids(shelf.search(QUERY, k=25, **given)) == ids(found)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize("options", [{}, {"group_by": "source"}, {"diversity": 0.5}, {"min_score": 0.1}])
def test_pages_by_cursor_and_by_offset_are_cut_from_one_list(shelf: Collection, mode: str, options: dict) -> None:
    whole = ids(shelf.search(QUERY, mode=mode, k=200, **options))
    walked: list[str] = []
    at = shelf.search(QUERY, mode=mode, k=7, **options)
    while at:
        walked += ids(at)
        assert ids(shelf.search(QUERY, mode=mode, k=7, offset=len(walked), **options)) == whole[len(walked) :][:7]
        at = shelf.search(QUERY, mode=mode, k=7, cursor=at.cursor, **options) if at.cursor else at[:0]
    assert walked == whole
    assert len(set(whole)) == len(whole) > 7


def test_the_next_page_may_have_another_size(shelf: Collection) -> None:
    first = shelf.search(QUERY, k=3)
    assert ids(first) + ids(shelf.search(QUERY, k=5, cursor=first.cursor)) == ids(shelf.search(QUERY, k=8))


@pytest.mark.parametrize(
    "change", [{"query": "json"}, {"mode": "dense"}, {"where": "n > 3"}, {"rank_constant": 7}, {"group_by": "source"}]
)
def test_the_cursor_of_another_search_is_refused(shelf: Collection, change: dict) -> None:
    cursor = shelf.search(QUERY, k=3).cursor
    with pytest.raises(InvalidInputError, match="another search"):
        shelf.search(**{"query": QUERY, "cursor": cursor, **change})


def test_each_source_comes_once_as_its_best_part_with_their_number(shelf: Collection) -> None:
    every = shelf.search(QUERY, k=240, explain=True)
    found = shelf.search(QUERY, k=200, group_by="source")
    assert len(found) == len({hit.document.source for hit in every}) == 30
    best: dict[str, str] = {}
    for hit in every:
        best.setdefault(hit.document.source, hit.id)
    assert ids(found) == list(best.values())
    assert sum(hit.chunks for hit in found) == len(every)


def test_min_score_keeps_the_beginning_of_the_list(shelf: Collection) -> None:
    for mode in ("hybrid", "dense", "lexical"):
        every = shelf.search(QUERY, mode=mode, k=200, explain=True)
        assert all(0 <= hit.relevance <= 1 for hit in every)
        bar = every[4].relevance
        kept = shelf.search(QUERY, mode=mode, k=200, min_score=bar)
        assert ids(kept) == [hit.id for hit in every if hit.relevance >= bar]
    assert shelf.search(QUERY, mode="dense", min_score=1.0) == []


def test_diversity_changes_the_order_and_loses_none(shelf: Collection) -> None:
    for mode in ("hybrid", "dense", "lexical"):
        plain = ids(shelf.search(QUERY, mode=mode, k=240, explain=True))
        assert ids(shelf.search(QUERY, mode=mode, k=240, diversity=0)) == plain
        spread = ids(shelf.search(QUERY, mode=mode, k=240, diversity=0.9))
        assert spread[0] == plain[0]
        assert spread != plain
        assert sorted(spread) == sorted(plain)


def test_a_window_without_end_takes_every_document(shelf: Collection) -> None:
    assert len(shelf.search(QUERY, k=240, window=None)) == 120
    assert len(shelf.search(QUERY, k=240, window=None, explain=True)) == 120
    assert len(shelf.search(QUERY, k=2, window=2, fusion="linear")) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "weighted"},
        {"scaling": "max"},
        {"rank_constant": -1},
        {"rank_constant": 1.5},
        {"weights": {"dense": float("nan")}},
        {"weights": {"dense": "much"}},
        {"weights": {"sparse": 1.0}},
        {"window": 0},
        {"window": 2.5},
        {"min_score": -0.1},
        {"min_score": 1.1},
        {"min_score": float("nan")},
        {"group_by": "path"},
        {"diversity": 2},
        {"diversity": "some"},
        {"cursor": "?"},
        {"cursor": "x" * 5},
        {"cursor": base64.b64encode(b"[1]").decode()},
        {"cursor": base64.b64encode(b'[-1,"x"]').decode()},
        {"cursor": base64.b64encode(b'["1",2]').decode()},
        {"cursor": "读"},
        {"cursor": "abc", "offset": 1},
        {"mode": "sparse"},
    ],
)
def test_what_cannot_be_taken_is_refused(options: dict) -> None:
    with connect("memory://", model="hashing") as database, pytest.raises(InvalidInputError):
        database.collection("shelf").search("x", **options)
