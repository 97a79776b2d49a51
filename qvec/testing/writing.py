"""What is written comes back as it was, replaces what had its id, and is written whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.checks import MAX_DEPTH
from qvec.errors import InvalidInputError, PartialWriteError, PassportMismatchError
from qvec.filters import Compare, Op
from qvec.testing.base import SuiteBase, fill, fresh_name, ids_of, make, need_lexical, scan_all
from qvec.testing.corpus import CORPUS, DIM, NASTY_IDS, NASTY_TEXTS, numbered, vectors_for
from qvec.testing.lifecycle import PASSPORT
from qvec.types import CollectionSpec, Document, Passport, Value


def _nested(depth: int) -> Value:
    found: Value = "inmost"
    for level in range(depth):
        found = [found] if level % 2 else {"key": found}
    return found


METADATA: dict[str, Mapping[str, Value]] = {
    "empty": {},
    "numbers": {"zero": 0, "one": 1, "minus": -7, "big": 2**63 - 1, "small": -(2**63), "above_double": 2**53 + 1},
    "floats": {"tenth": 0.1, "tiny": 5e-324, "huge": 1.7976931348623157e308, "third": 1 / 3, "minus": -2.5},
    "int, float, bool": {"int": 1, "float": 1.0, "bool": True, "text": "1", "false": False, "zero": 0, "zero_f": 0.0},
    "null": {"nothing": None, "deep": {"nothing": None}, "list": [None, 1]},
    "nested": {"a": {"b": {"c": [1, {"d": [[], {}]}]}}, "list": [1, "two", 3.5, True, None, ["x"]]},
    "unicode": {"语言": "中文", "émoji 🚀": "👩‍💻", "קוד": "עברית", "e\u0301": "decomposed", "é": "composed"},
    "keys": {"with space": 1, "it's": 2, 'a"b': 3, "a.b": 4, "a\\b": 5, "$x": 6, "a[0]": 7, "%s": 8, ":p": 9, "?": 10},
    "names that adapters use": {"id": "x", "text": "y", "vector": [1.0], "metadata": {"metadata": 1}, "source": "s"},
    "quotes": {"name": "O'Brien", "sql": "'; DROP TABLE x; --", "back": "a\\b\\", "percent": "100%_", "brace": "{}$1"},
    "long": {"value": "长" * 3000},
    "deep": {"list": _nested(MAX_DEPTH - 2), "wide": {f"key {i}": i for i in range(300)}},
}
REFUSED: dict[str, Document] = {
    "NUL in the text": Document("bad", "a\0b"),
    "NUL in the id": Document("b\0d", "text"),
    "NUL in a value": Document("bad", "text", {"key": ["a\0b"]}),
    "NUL in a key": Document("bad", "text", {"k\0y": 1}),
    "a lone surrogate in the text": Document("bad", "a\ud800b"),
    "a lone surrogate in a value": Document("bad", "text", {"key": "\udfff"}),
    "an empty id": Document("", "text"),
    "an id of 513 bytes": Document("x" * 513, "text"),
    "NaN in the metadata": Document("bad", "text", {"key": math.nan}),
    "infinity in the metadata": Document("bad", "text", {"deep": {"key": math.inf}}),
    "an integer beyond 64 bits": Document("bad", "text", {"key": 2**63}),
    "metadata nested beyond the limit": Document("bad", "text", {"key": _nested(MAX_DEPTH)}),
    "NUL in the digest": Document("bad", "text", {}, "", "a\0b"),
}


class WritingTests(SuiteBase):
    """upsert and delete."""

    @pytest.mark.parametrize("text", NASTY_TEXTS)
    def test_a_text_comes_back_character_by_character(self, adapter: Adapter, name: str, text: str) -> None:
        make(adapter, name)
        fill(adapter, name, [Document("a", text, {"value": text})])
        [found] = adapter.get(name, ["a"])
        assert found.text == text
        assert found.metadata == {"value": text}

    def test_any_id_is_taken_told_apart_and_deleted(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = [Document(id, f"text {i}") for i, id in enumerate(NASTY_IDS)]
        fill(adapter, name, documents)
        assert adapter.count(name) == len(NASTY_IDS)
        assert adapter.get(name, NASTY_IDS) == documents
        adapter.delete(name, NASTY_IDS[::2])
        adapter.refresh(name)
        assert [document.id for document in adapter.get(name, NASTY_IDS)] == list(NASTY_IDS[1::2])

    @pytest.mark.parametrize("case", METADATA)
    def test_metadata_comes_back_with_its_types(self, adapter: Adapter, name: str, case: str) -> None:
        make(adapter, name)
        fill(adapter, name, [Document("a", "text", METADATA[case])])
        [found] = adapter.get(name, ["a"])
        assert _typed(found.metadata) == _typed(METADATA[case])

    def test_source_and_digest_come_back(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        document = Document("part 1", "text", {}, "it's/读取.py", "sha256:'x'")
        fill(adapter, name, [document, Document("alone", "text")])
        assert adapter.get(name, ["part 1", "alone"]) == [document, Document("alone", "text", {}, "alone", "")]

    def test_a_text_of_50_kilobytes_is_kept_whole_or_refused_by_name(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        text = ("读取文件 and write it\n" * 2000)[:25_000]
        limit = adapter.capabilities.max_text_bytes
        if limit is None or len(text.encode()) <= limit:
            fill(adapter, name, [Document("long", text)])
            assert adapter.get(name, ["long"])[0].text == text
            return
        with pytest.raises((InvalidInputError, PartialWriteError), match="long"):
            adapter.upsert(name, [Document("long", text)], vectors_for([Document("long", text)]))

    def test_a_text_at_the_limit_is_kept_and_one_above_is_refused(self, adapter: Adapter, name: str) -> None:
        limit = adapter.capabilities.max_text_bytes
        if limit is None or limit > 10_000_000:
            pytest.skip("declares no limit of the text that matters")
        make(adapter, name)
        for filler in ("a ", "读"):
            step = len(filler.encode())
            kept = Document("kept", filler * (limit // step))
            fill(adapter, name, [kept])
            assert adapter.get(name, ["kept"]) == [kept]
            above = Document("above", filler * (limit // step + 1))
            with pytest.raises((InvalidInputError, PartialWriteError), match="above"):
                adapter.upsert(name, [above], vectors_for([above]))
            adapter.refresh(name)
            assert adapter.get(name, ["above"]) == []

    def test_upsert_replaces_the_whole_record(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        first = Document("a", "needle old", {"old": 1, "both": {"x": 1}, "title": "haystack"}, "source 1", "digest 1")
        second = Document("a", "thread new", {"both": {"y": 2}}, "source 2", "digest 2")
        fill(adapter, name, [first, Document("b", "other")])
        fill(adapter, name, [second])
        assert adapter.count(name) == 2
        assert adapter.get(name, ["a"]) == [second]
        assert adapter.digests(name, ["source 1", "source 2"]) == {"a": "digest 2"}
        assert adapter.count(name, filter=Compare("old", Op.EQ, 1)) == 0
        assert sorted(document.id for document in scan_all(adapter, name)) == ["a", "b"]

    def test_upsert_replaces_the_vector(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = [Document("a", "one"), Document("b", "two"), Document("c", "three")]
        vectors = fill(adapter, name, documents)
        fill(adapter, name, documents[:1], -vectors[:1])
        hits = adapter.search_dense(name, vectors[:1], k=3)[0]
        assert sorted(ids_of(hits)) == ["a", "b", "c"]
        assert hits[-1].id == "a"
        assert hits[-1].score == pytest.approx(-1, abs=1e-4)

    def test_upsert_replaces_the_keywords(self, adapter: Adapter, name: str) -> None:
        need_lexical(adapter)
        make(adapter, name)
        fill(adapter, name, [Document("a", "needle", {"title": "haystack"}), Document("b", "other")])
        fill(adapter, name, [Document("a", "thread")])
        found = adapter.search_lexical(name, ["needle", "haystack", "thread"], k=5)
        assert [ids_of(hits) for hits in found] == [[], [], ["a"]]

    def test_writing_the_same_twice_changes_nothing(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        vectors = fill(adapter, name, CORPUS)
        before = [ids_of(hits) for hits in adapter.search_dense(name, vectors[:3], k=30)]
        fill(adapter, name, CORPUS)
        assert adapter.count(name) == len(CORPUS)
        assert [ids_of(hits) for hits in adapter.search_dense(name, vectors[:3], k=30)] == before

    def test_an_empty_batch_is_fine(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        adapter.upsert(name, [], np.empty((0, DIM), dtype=np.float32))
        adapter.delete(name, [])
        adapter.refresh(name)
        assert adapter.count(name) == 0
        assert adapter.get(name, []) == []
        assert adapter.digests(name, []) == {}
        assert adapter.search_dense(name, np.empty((0, DIM), dtype=np.float32), k=3) == []

    def test_a_batch_larger_than_the_preferred_one_is_taken(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = numbered(min(adapter.capabilities.write_batch, 3000) + 11)
        fill(adapter, name, documents)
        assert adapter.count(name) == len(documents)

    def test_delete_takes_known_ids_and_ignores_others(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        vectors = fill(adapter, name, CORPUS)
        adapter.delete(name, ["short", "no such id", "short", "' OR 1=1 --"])
        adapter.refresh(name)
        assert adapter.count(name) == len(CORPUS) - 1
        assert adapter.get(name, ["short"]) == []
        assert "short" not in [document.id for document in scan_all(adapter, name)]
        assert "short" not in ids_of(adapter.search_dense(name, vectors[:1], k=100)[0])
        if adapter.capabilities.lexical:
            assert ids_of(adapter.search_lexical(name, ["needle"], k=5)[0]) == ["long"]

    def test_a_deleted_id_can_be_written_again(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, [Document("a", "first", {"old": 1})])
        adapter.delete(name, ["a"])
        adapter.refresh(name)
        fill(adapter, name, [Document("a", "second")])
        assert adapter.get(name, ["a"]) == [Document("a", "second")]
        assert adapter.count(name) == 1

    @pytest.mark.parametrize("case", REFUSED)
    def test_a_document_that_cannot_be_held_is_refused_and_nothing_written(
        self, adapter: Adapter, name: str, case: str
    ) -> None:
        make(adapter, name)
        self._refused(adapter, name, [Document("good", "text"), REFUSED[case]])

    def test_duplicate_ids_in_one_call_are_refused_by_name(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        with pytest.raises(InvalidInputError, match="twin"):
            self._write(adapter, name, [Document("twin", "a"), Document("b", "b"), Document("twin", "c")])
        adapter.refresh(name)
        assert adapter.count(name) == 0

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_vector_that_is_not_finite_is_refused_and_nothing_written(
        self, adapter: Adapter, name: str, value: float
    ) -> None:
        make(adapter, name)
        documents = [Document("a", "a"), Document("b", "b")]
        vectors = vectors_for(documents)
        vectors[1, 3] = value
        self._refused(adapter, name, documents, vectors)

    @pytest.mark.parametrize("shape", [(2, DIM - 1), (2, DIM + 1), (1, DIM), (3, DIM), (2 * DIM,)])
    def test_vectors_of_another_shape_are_refused_and_nothing_written(
        self, adapter: Adapter, name: str, shape: tuple[int, ...]
    ) -> None:
        make(adapter, name)
        self._refused(adapter, name, [Document("a", "a"), Document("b", "b")], np.ones(shape, dtype=np.float32))

    def test_vectors_of_other_layout_are_taken_as_they_mean(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = [Document(f"d{i}", "text") for i in range(6)]
        vectors = vectors_for(documents)
        fill(adapter, name, documents[:3], np.asfortranarray(vectors)[:3])
        fill(adapter, name, documents[3:], vectors.astype(np.float64)[3:])  # type: ignore[arg-type]
        assert [ids_of(hits) for hits in adapter.search_dense(name, vectors, k=1)] == [[d.id] for d in documents]

    @pytest.mark.parametrize("held", [PASSPORT, None], ids=["of another model", "without a passport"])
    def test_a_write_for_another_passport_is_refused_and_leaves_nothing(
        self, adapter: Adapter, name: str, held: Passport | None
    ) -> None:
        adapter.create_collection(CollectionSpec(name, DIM, passport=held))
        adapter.upsert(name, [Document("a", "first")], np.ones((1, DIM), np.float32), passport=held)
        adapter.refresh(name)
        others = [Document("a", "of another model"), Document("b", "too")]
        for dim in (DIM, DIM + 1):
            given = replace(PASSPORT, dim=dim, revision="of another model")
            with pytest.raises(PassportMismatchError, match=f"{name}.*run again"):
                adapter.upsert(name, others, np.ones((2, dim), np.float32), passport=given)
        adapter.refresh(name)
        assert [(each.id, each.text) for each in scan_all(adapter, name)] == [("a", "first")]
        adapter.upsert(name, others, np.ones((2, DIM), np.float32))
        adapter.refresh(name)
        assert {each.text for each in scan_all(adapter, name)} == {"of another model", "too"}

    def test_threads_may_refresh_at_once(self, adapter: Adapter) -> None:
        for _ in range(8):
            name = fresh_name()
            make(adapter, name)
            adapter.upsert(name, CORPUS, vectors_for(CORPUS))
            with ThreadPoolExecutor(4) as threads:
                for done in [threads.submit(adapter.refresh, name) for _ in range(4)]:
                    done.result()
            assert adapter.count(name) == len(CORPUS)
            adapter.drop_collection(name)

    def test_four_threads_write_read_and_search_at_once(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = numbered(200)
        vectors = vectors_for(documents)
        fill(adapter, name, documents[:20], vectors[:20])

        def work(part: int) -> None:
            for start in range(20 + part * 45, 65 + part * 45, 15):
                adapter.upsert(name, documents[start : start + 15], vectors[start : start + 15])
                assert adapter.get(name, ["doc00019", "doc00004"]) == [documents[19], documents[4]]
                hits = adapter.search_dense(name, vectors[4:6], k=1)
                assert [ids_of(each) for each in hits] == [["doc00004"], ["doc00005"]]
                assert adapter.count(name) >= 16
            adapter.delete(name, [documents[part].id])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        adapter.refresh(name)
        assert sorted(document.id for document in scan_all(adapter, name)) == [d.id for d in documents[4:]]

    def _refused(
        self, adapter: Adapter, name: str, documents: Sequence[Document], vectors: np.ndarray | None = None
    ) -> None:
        with pytest.raises(InvalidInputError):
            self._write(adapter, name, documents, vectors)
        adapter.refresh(name)
        assert adapter.count(name) == 0

    @staticmethod
    def _write(adapter: Adapter, name: str, documents: Sequence[Document], vectors: np.ndarray | None = None) -> None:
        rows = np.ones((len(documents), DIM), dtype=np.float32) if vectors is None else vectors
        adapter.upsert(name, documents, rows)


def _typed(value: Value) -> object:
    """Give each value its type, because 1 == 1.0 == True."""
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_typed(item) for item in value]
    return (type(value).__name__, value)
