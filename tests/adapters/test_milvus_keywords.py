"""Keyword scores on Milvus Lite, wherever its rows lie: in memory, in several segments, deleted, in a reopened file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from qvec_milvus.hashing import ARRAY
from qvec_milvus.postings import LONG, counted, frequency, hashed

from qvec.adapter import Adapter
from qvec.filters import Compare, Filter, Op
from qvec.lexical import term_frequencies
from qvec.memory import MemoryAdapter
from qvec.registry import embedded_uri, open_adapter
from qvec.types import CollectionSpec, Document

DOCUMENTS = [
    Document(f"d{i:03}", f"{'needle ' * (i % 4)}{'hay straw ' * (i % 7)}{'rare' if i % 10 == 0 else 'grass'}", {"n": i})
    for i in range(60)
]
VECTORS = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
QUERIES = ["needle", "rare needle", "straw", "hay grass rare", "nowhere"]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return embedded_uri("milvus", tmp_path).reveal()


@pytest.fixture
def reference() -> MemoryAdapter:
    made = MemoryAdapter()
    made.create_collection(CollectionSpec("words", 8))
    return made


def agree(adapter: Adapter, reference: MemoryAdapter, filter: Filter | None = None) -> None:
    expected = reference.search_lexical("words", QUERIES, k=7, filter=filter)
    found = adapter.search_lexical("words", QUERIES, k=7, filter=filter)
    for wanted, got in zip(expected, found, strict=True):
        assert [hit.id for hit in got] == [hit.id for hit in wanted]
        assert [hit.score for hit in got] == pytest.approx([hit.score for hit in wanted], abs=1e-9)


def test_scores_do_not_depend_on_how_rows_are_cut_into_segments(uri: str, reference: MemoryAdapter) -> None:
    adapter = open_adapter(uri)
    adapter.create_collection(CollectionSpec("words", 8))
    for part in (slice(0, 25), slice(25, 40), slice(40, 60)):
        for each in (adapter, reference):
            each.upsert("words", DOCUMENTS[part], VECTORS[part])
        agree(adapter, reference)
        adapter.refresh("words")
        agree(adapter, reference)
    agree(adapter, reference, Compare("n", Op.LT, 20))
    adapter.close()


def test_what_was_deleted_or_replaced_counts_no_more_in_memory_flushed_or_reopened(
    uri: str, reference: MemoryAdapter
) -> None:
    adapter = open_adapter(uri)
    adapter.create_collection(CollectionSpec("words", 8))
    for each in (adapter, reference):
        each.upsert("words", DOCUMENTS, VECTORS)
        each.refresh("words")
        each.delete("words", [document.id for document in DOCUMENTS[::3]])
        each.upsert("words", [Document("d001", "rare rare rare straw")], VECTORS[:1])
    agree(adapter, reference)
    adapter.refresh("words")
    agree(adapter, reference)
    adapter.close()
    reopened = open_adapter(uri)
    agree(reopened, reference)
    reopened.close()


def test_scores_are_right_after_a_writer_was_killed_before_it_refreshed(uri: str, reference: MemoryAdapter) -> None:
    writer = textwrap.dedent("""
        import sys, time
        from qvec.registry import open_adapter
        from qvec.types import CollectionSpec
        from tests.adapters.test_milvus_keywords import DOCUMENTS, VECTORS
        adapter = open_adapter(sys.argv[1])
        adapter.create_collection(CollectionSpec("words", 8))
        adapter.upsert("words", DOCUMENTS[:30], VECTORS[:30])
        adapter.refresh("words")
        adapter.upsert("words", DOCUMENTS[30:], VECTORS[30:])
        adapter.delete("words", ["d000"])
        print("written", flush=True)
        time.sleep(60)
    """)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-c", writer, uri], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    reference.upsert("words", DOCUMENTS[1:], VECTORS[1:])
    adapter = open_adapter(uri)
    assert adapter.count("words") == len(DOCUMENTS) - 1
    agree(adapter, reference)
    adapter.close()


def test_a_text_with_more_tokens_than_a_field_holds_is_found_by_each(uri: str, reference: MemoryAdapter) -> None:
    long = Document("long", "".join(chr(0x4E00 + i % 20_000) for i in range(21_000)) + " needle needle")
    assert len(long.text.encode()) < 65_535
    assert counted(term_frequencies(long.text)) == LONG
    adapter = open_adapter(uri)
    adapter.create_collection(CollectionSpec("words", 8))
    for each in (adapter, reference):
        each.upsert("words", [*DOCUMENTS[:20], long], VECTORS[:21])
        each.refresh("words")
    agree(adapter, reference)
    [[hit]] = adapter.search_lexical("words", [long.text[100:102]], k=2)
    assert hit.document == long
    adapter.close()


def test_a_token_with_an_underscore_is_not_taken_for_a_pattern() -> None:
    assert frequency(counted({"read_csv": 2, "readxcsv": 5}), "read_csv") == 2
    assert frequency(counted({"readxcsv": 5}), "read_csv") == 0
    assert frequency(counted({"preread": 5}), "read") == 0


def test_the_bits_of_a_length_add_up_to_it() -> None:
    bits = [item for item in hashed({"a": 3, "b": 2, "c": 8}) if item < 0]
    assert sum(1 << (-1 - bit) for bit in bits) == 13


def test_more_terms_than_an_array_takes_are_marked() -> None:
    many = hashed({f"t{i}": 1 for i in range(ARRAY)})
    assert many[0] == 0
    assert len(many) < 30
