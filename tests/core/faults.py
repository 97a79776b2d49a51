"""Adapters with one fault each, and their suites, which `test_suite_catches_faults` runs in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event

import numpy as np

from qvec.checks import check_held
from qvec.errors import InvalidInputError
from qvec.filters import And, Compare, Exists, Filter, Not, Op, Or, matches
from qvec.memory import MemoryAdapter
from qvec.testing import AdapterSuite
from qvec.types import Batch, CollectionSpec, Document, Hit, Vectors
from qvec.uri import URI
from tests.core.hybrid_faults import HYBRID_CAUGHT_BY, Fusing


def _rescored(found: list[list[Hit]], score) -> list[list[Hit]]:
    return [[Hit(hit.document, score(hit.score)) for hit in hits] for hits in found]


class CosineDistance(MemoryAdapter):
    def search_dense(self, name: str, vectors: Vectors, **options) -> list[list[Hit]]:
        return _rescored(super().search_dense(name, vectors, **options), lambda score: 1 - score)


class SquaredDistance(MemoryAdapter):
    def search_dense(self, name: str, vectors: Vectors, **options) -> list[list[Hit]]:
        return _rescored(super().search_dense(name, vectors, **options), lambda score: -(score**2))


class ElasticScore(MemoryAdapter):
    """Elasticsearch's own scale: (1 + cosine) / 2."""

    def search_dense(self, name: str, vectors: Vectors, **options) -> list[list[Hit]]:
        return _rescored(super().search_dense(name, vectors, **options), lambda score: (1 + score) / 2)


class Rewritten(MemoryAdapter):
    """Searches and counts by a filter that was changed on the way."""

    def rewrite(self, filter: Compare) -> Filter:
        raise NotImplementedError

    def search_dense(self, name: str, vectors: Vectors, *, filter: Filter | None = None, **options) -> list[list[Hit]]:
        return super().search_dense(name, vectors, filter=self._all(filter), **options)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        return super().count(name, filter=self._all(filter))

    def _all(self, filter: Filter | None) -> Filter | None:
        match filter:
            case And(conditions):
                return And(tuple(self._all(each) for each in conditions))
            case Or(conditions):
                return Or(tuple(self._all(each) for each in conditions))
            case Not(condition):
                return Not(self._all(condition))
            case Compare():
                return self.rewrite(filter)
        return filter


class MissingDiffers(Rewritten):
    def rewrite(self, filter: Compare) -> Filter:
        return Or((filter, Not(Exists(filter.field)))) if filter.op is Op.NE else filter


class NotKeepsUnknown(Rewritten):
    """SQL's three values: NOT (missing = x) is not true."""

    def _all(self, filter: Filter | None) -> Filter | None:
        if isinstance(filter, Not) and isinstance(filter.condition, Compare):
            return And((filter, Exists(filter.condition.field)))
        return super()._all(filter)

    def rewrite(self, filter: Compare) -> Filter:
        return filter


class BooleansAreNumbers(Rewritten):
    def rewrite(self, filter: Compare) -> Filter:
        if filter.op is Op.EQ and isinstance(filter.value, int):
            return Or((filter, Compare(filter.field, Op.EQ, bool(filter.value))))
        return filter


class PrefixIsPattern(Rewritten):
    """LIKE without escapes: a_ also finds ax."""

    def rewrite(self, filter: Compare) -> Filter:
        if filter.op is Op.STARTS_WITH and "_" in filter.value:
            return Compare(filter.field, Op.STARTS_WITH, filter.value.split("_")[0])
        return filter


class LateFilter(MemoryAdapter):
    def search_dense(
        self, name: str, vectors: Vectors, *, k: int, filter: Filter | None = None, **options
    ) -> list[list[Hit]]:
        found = super().search_dense(name, vectors, k=k, **options)
        return [[hit for hit in hits if filter is None or matches(filter, hit.metadata)] for hits in found]


class UnorderedGet(MemoryAdapter):
    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        return super().get(name, sorted(ids))


class TiesBackwards(MemoryAdapter):
    def search_dense(self, name: str, vectors: Vectors, *, k: int, offset: int = 0, **options) -> list[list[Hit]]:
        found = super().search_dense(name, vectors, k=100_000, **options)
        backwards = [sorted(hits, key=lambda hit: hit.id, reverse=True) for hits in found]
        return [sorted(hits, key=lambda hit: -hit.score)[offset : offset + k] for hits in backwards]


class TiesCutBeforeSorted(MemoryAdapter):
    def search_dense(self, name: str, vectors: Vectors, *, k: int, offset: int = 0, **options) -> list[list[Hit]]:
        found = TiesBackwards.search_dense(self, name, vectors, k=k, offset=offset, **options)
        return [sorted(hits, key=lambda hit: (-hit.score, hit.id)) for hits in found]


class LexicalTiesBackwards(MemoryAdapter):
    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, offset: int = 0, **options
    ) -> list[list[Hit]]:
        found = super().search_lexical(name, queries, k=100_000, **options)
        backwards = [sorted(hits, key=lambda hit: hit.id, reverse=True) for hits in found]
        return [sorted(hits, key=lambda hit: -hit.score)[offset : offset + k] for hits in backwards]


class Duplicates(MemoryAdapter):
    """An insert where an upsert is meant."""

    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        twice = [replace(each, id=f"{each.id}\u00a0") if self.get(name, [each.id]) else each for each in documents]
        super().upsert(name, twice, vectors, **options)


class MergedMetadata(MemoryAdapter):
    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        old = {each.id: each.metadata for each in self.get(name, [each.id for each in documents])}
        merged = [replace(each, metadata={**old.get(each.id, {}), **each.metadata}) for each in documents]
        super().upsert(name, merged, vectors, **options)


class WrittenOneByOne(MemoryAdapter):
    """Refuses a batch after its good part is in."""

    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        for at, document in enumerate(documents):
            super().upsert(name, [document], vectors[at : at + 1], **options)


class SilentlyCut(MemoryAdapter):
    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        super().upsert(name, [replace(each, text=each.text[:8192]) for each in documents], vectors, **options)


class NaNTaken(MemoryAdapter):
    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        super().upsert(name, documents, np.nan_to_num(vectors), **options)


class DigestDropped(MemoryAdapter):
    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        super().upsert(name, [replace(each, digest="") for each in documents], vectors, **options)


class PassportIgnored(MemoryAdapter):
    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport=None) -> None:
        super().upsert(name, documents, vectors)


class PassportComparedTooEarly(MemoryAdapter):
    """Compares what has the name, and writes to what has it then: after the next exchange, if one comes."""

    def __init__(self) -> None:
        super().__init__()
        self.exchanged = Event()

    def exchange(self, one: str, other: str) -> None:
        super().exchange(one, other)
        self.exchanged.set()

    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport=None) -> None:
        check_held(self.describe_collection(name), passport)
        self.exchanged.clear()
        self.exchanged.wait(0.1)
        super().upsert(name, documents, vectors)


class PassportDropped(MemoryAdapter):
    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        super().create_collection(replace(spec, passport=None), exist_ok=exist_ok)


class ScanRepeats(MemoryAdapter):
    """Pages by position, inclusive at both ends."""

    def scan(self, name: str, **options) -> Iterator[Batch]:
        last: Document | None = None
        for batch in super().scan(name, **options):
            yield batch if last is None else replace(batch, documents=[last, *batch.documents][: len(batch.documents)])
            last = batch.documents[-1]


class StaleKeywords(MemoryAdapter):
    """Keywords of replaced documents stay as they were first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = MemoryAdapter()

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        super().create_collection(spec, exist_ok=exist_ok)
        self.first.create_collection(spec, exist_ok=exist_ok)

    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        new = [at for at, each in enumerate(documents) if not self.get(name, [each.id])]
        super().upsert(name, documents, vectors, **options)
        self.first.upsert(name, [documents[at] for at in new], np.asarray(vectors)[new])

    def search_lexical(self, name: str, queries: Sequence[str], **options) -> list[list[Hit]]:
        found = self.first.search_lexical(name, queries, **options)
        return [[Hit(self.get(name, [hit.id])[0], hit.score) for hit in hits] for hits in found]


class AsciiKeywords(MemoryAdapter):
    def search_lexical(self, name: str, queries: Sequence[str], **options) -> list[list[Hit]]:
        return super().search_lexical(name, [query.encode("ascii", "ignore").decode() for query in queries], **options)


class RarestWordAlone(MemoryAdapter):
    """Leaves every document unread that lacks the rarest word of a query, whatever the others add up to."""

    def search_lexical(self, name: str, queries: Sequence[str], **options) -> list[list[Hit]]:
        depth = options["k"] + options.get("offset", 0)
        found = []
        for query in queries:
            holding = [
                {hit.id for hit in super(RarestWordAlone, self).search_lexical(name, [word], k=self.count(name))[0]}
                for word in query.split()
            ]
            rarest = min(filter(None, holding), key=len, default=set())
            hits = super().search_lexical(name, [query], **{**options, "k": self.count(name), "offset": 0})[0]
            found.append([hit for hit in hits if hit.id in rarest][:depth][options.get("offset", 0) :])
        return found


class FirstQueryForAll(MemoryAdapter):
    def search_dense(self, name: str, vectors: Vectors, **options) -> list[list[Hit]]:
        found = super().search_dense(name, vectors[:1], **options)
        return found * len(vectors)


class UntypedRefusal(MemoryAdapter):
    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors, **options) -> None:
        try:
            super().upsert(name, documents, vectors, **options)
        except InvalidInputError as exc:
            raise ValueError("the driver says no") from exc


class OptionsIgnored(MemoryAdapter):
    @classmethod
    def from_uri(cls, uri: URI) -> OptionsIgnored:
        return cls()


_SCORES = "test_scores_are_those_of_the_metric"
_TIES = "test_equal_vectors_stand_by_id_and_the_cut_keeps_the_smallest"
_SELECTS = "test_a_filter_selects_what_matches_selects"
_REST = "test_its_negation_selects_the_rest"
_REFUSED = "test_a_document_that_cannot_be_held_is_refused_and_nothing_written"
_FOR_ANOTHER = "test_a_write_for_another_passport_is_refused_and_leaves_nothing"
CAUGHT_BY: dict[type[MemoryAdapter], tuple[str, ...]] = {
    CosineDistance: (f"{_SCORES}[cosine]", "test_known_cosines"),
    SquaredDistance: (f"{_SCORES}[l2]", "test_known_distances"),
    ElasticScore: (f"{_SCORES}[cosine]", "test_known_cosines"),
    MissingDiffers: (f"{_SELECTS}['missing' != 'x']", f"{_REST}['missing' != 'x']"),
    NotKeepsUnknown: (f"{_REST}['missing' == 'x']",),
    BooleansAreNumbers: (f"{_SELECTS}['stars' == 1]", f"{_SELECTS}['open' == 0]"),
    PrefixIsPattern: (f"{_SELECTS}['name' starts with 'a_']",),
    LateFilter: ("test_a_filter_of_one_percent_does_not_starve_the_search",),
    UnorderedGet: ("test_get_keeps_the_callers_order_and_skips_the_unknown",),
    TiesBackwards: (f"{_TIES}[cosine]", "test_ties_are_ordered_by_code_point"),
    TiesCutBeforeSorted: (f"{_TIES}[cosine]", "test_ties_are_ordered_by_code_point"),
    LexicalTiesBackwards: ("test_equal_scores_stand_by_id_and_the_cut_keeps_the_smallest",),
    Duplicates: ("test_upsert_replaces_the_whole_record", "test_writing_the_same_twice_changes_nothing"),
    MergedMetadata: ("test_upsert_replaces_the_whole_record",),
    WrittenOneByOne: (f"{_REFUSED}[NUL in the text]", "test_duplicate_ids_in_one_call_are_refused_by_name"),
    SilentlyCut: ("test_a_text_of_50_kilobytes_is_kept_whole_or_refused_by_name",),
    NaNTaken: ("test_a_vector_that_is_not_finite_is_refused_and_nothing_written[nan]",),
    DigestDropped: ("test_digests_are_found_by_source", "test_source_and_digest_come_back"),
    PassportIgnored: (f"{_FOR_ANOTHER}[of another model]", f"{_FOR_ANOTHER}[without a passport]"),
    PassportComparedTooEarly: ("test_no_write_lands_in_a_collection_of_another_model",),
    PassportDropped: ("test_describe_reports_what_was_created[cosine]",),
    ScanRepeats: ("test_scan_walks_each_record_once_in_small_batches[7]",),
    StaleKeywords: (
        "test_upsert_replaces_the_keywords",
        "test_scores_stay_right_after_updates_and_deletes",
    ),
    RarestWordAlone: ("test_the_first_hits_are_the_reference_s_whatever_is_left_unread",),
    AsciiKeywords: ("test_chinese_words_find_a_chinese_docstring",),
    FirstQueryForAll: ("test_each_query_of_a_batch_gets_its_own_answer",),
    UntypedRefusal: (f"{_REFUSED}[NUL in the id]",),
    OptionsIgnored: ("test_an_unknown_option_in_the_uri_is_refused_by_name",),
}
"""Fault -> the tests of the suite that must fail because of it."""
CAUGHT_BY |= HYBRID_CAUGHT_BY


def scheme_of(fault: type[MemoryAdapter]) -> str:
    return f"faulty-{fault.__name__.lower()}"


globals().update(
    {
        f"Test{fault.__name__}": type(f"Test{fault.__name__}", (AdapterSuite,), {"uri": f"{scheme_of(fault)}://"})
        for fault in (Fusing, *CAUGHT_BY)
    }
)
