"""A live collection gets another model's vectors with no downtime: nothing is lost, and there is a way back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import qvec
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import CollectionError, PassportMismatchError
from qvec.migrate import (
    Attached,
    CopyJob,
    CopyProgress,
    MigrationError,
    SwapJob,
    SwapReport,
    attach,
    copy,
    end_swap,
    plan_swap,
    plan_undo,
    roll_back,
    swap,
    sync,
    undo,
    verify,
)
from qvec.pipeline import run
from qvec.registry import embedded_uri, load_embedder, open_adapter
from qvec.types import Document, Passport, Vectors
from tests.migrate.postgres import own_database, psycopg
from tests.migrate.test_attach import db, job, make, tables

__all__ = ["db"]
SHOP = '"My Shop"."Ar""ticles %"'
ROWS = [{"id": f"r{number}", "text": f"row {number} about topic{number % 7}"} for number in range(400)]
BACKENDS = ["faiss", "pgvector", "milvus"]


def place(backend: str, server: str, tmp_path: Path) -> str:
    """An empty database; PostgreSQL's in the one server, which may take longer to start than its starter waits."""
    if backend != "pgvector":
        return embedded_uri(backend, tmp_path / "db").reveal()
    return own_database(server, "swapped")


@pytest.fixture(params=BACKENDS)
def address(request: pytest.FixtureRequest, server: str, tmp_path: Path) -> str:
    return place(request.param, server, tmp_path)


def swap_job(address: str, tmp_path: Path, **more: object) -> SwapJob:
    return SwapJob(url=address, collection="books", dim=64, journal=tmp_path / "swap.sqlite", **more)


def state(address: str, name: str = "books") -> tuple[int, dict[str, str], bool]:
    """Dim, texts, and whether every vector is that of its text."""
    adapter = open_adapter(address)
    try:
        spec = adapter.describe_collection(name)
        assert spec.passport is not None
        batches = list(adapter.scan(name, vectors=True))
        texts = {document.id: document.searchable_text for batch in batches for document in batch.documents}
        made = load_embedder(spec.passport.model_id, dim=spec.passport.dim).encode_document(list(texts.values()))
        held = adapter.get_vectors(name, list(texts))
        return spec.dim, texts, bool(np.allclose(np.array([held[key] for key in texts]), made, atol=1e-3))
    finally:
        adapter.close()


def test_a_swap_changes_model_and_passport_and_can_be_rolled_back(address: str, tmp_path: Path) -> None:
    qvec.index("books", ROWS, backend=address, model="hashing")
    chosen = swap_job(address, tmp_path)
    assert plan_swap(chosen)[0] == "make the collection books_swap of 64 dimensions"
    report = swap(chosen)
    assert (report.is_switched, report.records, report.followed, report.dim) == (True, 400, 400, 64)
    assert report.recall == pytest.approx(1)
    assert state(address) == (64, {row["id"]: row["text"] for row in ROWS}, True)
    assert qvec.search("books", "row 7", backend=address)[0].id
    qvec.index("books", [{"id": "r3", "text": "written since"}, {"id": "new", "text": "and new"}], backend=address)
    assert roll_back(chosen).is_switched is False
    dim, texts, is_right = state(address)
    assert (dim, texts["r3"], texts["new"], is_right) == (256, "written since", "and new", True)
    assert swap(chosen).followed == 0
    end_swap(chosen)
    assert state(address) == (64, texts, True)
    with pytest.raises(MigrationError, match="was not swapped"):
        roll_back(chosen)


def test_what_is_written_between_filling_and_exchange_is_there_after(address: str, tmp_path: Path) -> None:
    qvec.index("books", ROWS, backend=address, model="hashing")
    chosen = swap_job(address, tmp_path)
    assert swap(chosen, switch=False).is_switched is False
    with qvec.connect(address) as database:
        books = database.collection("books")
        books.index([{"id": "r1", "text": "changed words"}, {"id": "late", "text": "late row"}])
        books.delete(["r2"])
    assert swap(chosen).followed == 3
    _, texts, is_right = state(address)
    assert (texts["r1"], texts["late"], "r2" in texts, is_right) == ("changed words", "late row", False, True)


def test_a_low_recall_leaves_the_old_vectors(address: str, tmp_path: Path) -> None:
    qvec.index("books", ROWS[:50], backend=address, model="hashing")
    chosen = swap_job(address, tmp_path, least_recall=1.1)
    with pytest.raises(MigrationError, match=r"finds 100\.0% of the exact neighbours"):
        swap(chosen)
    assert state(address)[0] == 256
    end_swap(chosen)
    with qvec.connect(address) as database:
        assert database.collections() == ["books"]


def test_the_same_model_and_a_strangers_shadow_are_refused(tmp_path: Path) -> None:
    address = embedded_uri("faiss", tmp_path / "db").reveal()
    qvec.index("books", ROWS[:5], backend=address, model="hashing")
    with pytest.raises(MigrationError, match="has the vectors of hashing already"):
        swap(SwapJob(url=address, collection="books", journal=tmp_path / "j.sqlite"))
    qvec.index("books_swap", ROWS[:5], backend=address, model="hashing")
    with pytest.raises(MigrationError, match="the journal knows nothing of it"):
        swap(swap_job(address, tmp_path))


@pytest.mark.parametrize("backend", ["faiss", "pgvector"])
def test_a_writer_that_never_stops_loses_nothing(backend: str, server: str, tmp_path: Path) -> None:
    address = place(backend, server, tmp_path)
    qvec.index("books", ROWS, backend=address, model="hashing")
    written: dict[str, str] = {}
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            while not done.is_set():
                number += 1
                text = f"edit {number}"
                # Opened anew each time, as by programs that come and go; each takes the model that it finds. The one
                # that is at work while the names are exchanged is told, and runs again.
                try:
                    report = qvec.index("books", [{"id": f"r{number % 50}", "text": text}], backend=address)
                except CollectionError:
                    number -= 1
                else:
                    assert report.failed == {}
                    written[f"r{number % 50}"] = text
        except BaseException as exc:
            failures.append(exc)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.2)
    swap(swap_job(address, tmp_path))
    time.sleep(0.2)
    done.set()
    writer.join()
    swap(swap_job(address, tmp_path))
    assert failures == []
    dim, texts, is_right = state(address)
    assert (dim, is_right) == (64, True)
    assert texts == {row["id"]: row["text"] for row in ROWS} | written


@pytest.mark.parametrize("to", ["narrower", "as wide"])
@pytest.mark.parametrize("backend", ["faiss", "pgvector"])
def test_who_has_the_collection_open_goes_on_with_the_new_model(
    backend: str, to: str, server: str, tmp_path: Path
) -> None:
    address = place(backend, server, tmp_path)
    with qvec.connect(address) as database:
        books = database.collection("books")
        database.collection("books", model="hashing").index(ROWS)
        assert books.search("row 7 about topic0", k=1, mode="dense")[0].id == "r7"
        given = {"dim": 64} if to == "narrower" else {"model": "bundled", "dim": 256}
        swap(SwapJob(url=address, collection="books", journal=tmp_path / "j.sqlite", **given))
        time.sleep(0 if to == "narrower" else 1.1)
        for mode in ("dense", "hybrid", "lexical"):
            assert books.search("row 7 about topic0", k=1, mode=mode)[0].id == "r7"
        time.sleep(1.1)
        [hit] = books.search("row 9 about topic2", k=1, mode="dense")
        assert hit.score > 0.9
        books.index([{"id": "late", "text": "late words"}])
        assert books.search("late words", k=1, mode="lexical")[0].id == "late"
    assert state(address)[2]


def test_a_run_of_the_old_model_that_is_under_way_writes_nothing_into_the_new(tmp_path: Path) -> None:
    address = embedded_uri("faiss", tmp_path / "db").reveal()
    qvec.index("books", ROWS, backend=address, model="hashing")

    def documents() -> Iterator[dict[str, str]]:
        yield {"id": "before", "text": "one"}
        swap(SwapJob(url=address, collection="books", model="bundled", dim=256, journal=tmp_path / "j.sqlite"))
        yield {"id": "after", "text": "two"}

    with pytest.raises(PassportMismatchError):
        qvec.index("books", documents(), backend=address)
    assert state(address)[2]


@pytest.mark.parametrize("other", [("hashing", 64), ("bundled", 256)], ids=["narrower", "as wide"])
def test_a_run_whose_collection_is_exchanged_as_it_writes_is_told_and_not_its_documents(
    other: tuple[str, int], tmp_path: Path
) -> None:
    qvec_faiss = pytest.importorskip("qvec_faiss")
    uri = embedded_uri("faiss", tmp_path / "db")
    for name, (model, dim) in {"books": ("hashing", 256), "books_swap": other}.items():
        qvec.index(name, ROWS[:3], backend=uri.reveal(), model=model, dim=dim)

    class Exchanging(qvec_faiss.FaissAdapter):
        """Another program exchanges the names after the passports were compared, before the write."""

        def upsert(
            self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
        ) -> None:
            self.exchange(name, "books_swap")
            super().upsert(name, documents, vectors, passport=passport)

    adapter = Exchanging.from_uri(uri)
    with pytest.raises(PassportMismatchError, match="run again"):
        run(adapter, "books", load_embedder("hashing"), [{"id": "r1", "text": "other words"}])
    adapter.close()
    assert state(uri.reveal())[1]["r1"] == ROWS[1]["text"]


LONG = [*ROWS[:20], {"id": "long", "text": " ".join(f"word{number}" for number in range(60))}]
NARROW = HashingEmbedder(dim=64, max_tokens=20)


@pytest.mark.parametrize("policy", ["truncate", "pool"])
def test_long_records_are_treated_as_the_collection_treats_them(policy: str, tmp_path: Path) -> None:
    address = embedded_uri("faiss", tmp_path / "db").reveal()
    qvec.index("books", LONG, backend=address, embedder=HashingEmbedder(max_tokens=40), long_text=policy)
    assert swap(SwapJob(url=address, collection="books", journal=tmp_path / "j", embedder=NARROW)).is_switched
    qvec.index("new", LONG, backend=address, embedder=NARROW, long_text=policy)
    adapter = open_adapter(address)
    swapped, indexed = (adapter.get_vectors(name, ["long"])["long"] for name in ("books", "new"))
    adapter.close()
    np.testing.assert_allclose(swapped, indexed, atol=1e-6)


def test_parts_that_a_narrower_model_cannot_take_are_refused(tmp_path: Path) -> None:
    address = embedded_uri("faiss", tmp_path / "db").reveal()
    qvec.index("books", LONG, backend=address, embedder=HashingEmbedder(max_tokens=40), long_text="chunk")
    with pytest.raises(MigrationError, match="cut for a model with a wider window"):
        swap(SwapJob(url=address, collection="books", journal=tmp_path / "j", embedder=NARROW))


class BreakingOff:
    """Breaks a job off after so many batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self.step = ""

    def __call__(self, state: CopyProgress) -> None:
        self.step = state.step
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1


def broken_off(work: Callable[..., SwapReport], job: SwapJob) -> list[str]:
    """Break a swap or its way back off one batch later each time, until it comes to its end; name the steps."""
    steps: list[str] = []
    while True:
        progress = BreakingOff(len(steps))
        try:
            work(job, progress=progress)
        except KeyboardInterrupt:
            steps.append(progress.step)
        else:
            return steps


def test_a_swap_and_its_way_back_go_on_wherever_they_are_broken_off(tmp_path: Path) -> None:
    address = embedded_uri("faiss", tmp_path / "db").reveal()
    qvec.index("books", ROWS, backend=address, model="hashing")
    assert "searched for the recall" in broken_off(swap, swap_job(address, tmp_path))
    assert state(address) == (64, {row["id"]: row["text"] for row in ROWS}, True)
    assert len(broken_off(roll_back, swap_job(address, tmp_path))) >= 2
    assert state(address) == (256, {row["id"]: row["text"] for row in ROWS}, True)


CHILD = """
import sys
from qvec.migrate import SwapJob, swap
def progress(state):
    print(state.read, flush=True)
    sys.stdin.readline()
swap(SwapJob(url=sys.argv[1], collection="books", dim=64, journal=sys.argv[2]), progress=progress)
"""


def test_a_killed_swap_goes_on(tmp_path: Path) -> None:
    address = embedded_uri("faiss", tmp_path / "db").reveal()
    qvec.index("books", ROWS, backend=address, model="hashing")
    command = [sys.executable, "-c", CHILD, address, str(tmp_path / "swap.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "256\n"
        os.kill(child.pid, signal.SIGKILL)
    report = swap(swap_job(address, tmp_path))
    assert (report.is_switched, report.followed) == (True, 400 - 256)
    assert state(address)[2]


@pytest.mark.parametrize("triggers", [False, True], ids=["plain", "triggers"])
@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_an_attached_table_is_swapped_and_rolled_back(
    in_table: bool, triggers: bool, server: str, db: psycopg.Connection
) -> None:
    make(db, rows=300)
    before = tables(db)
    attach(job(server, in_table=in_table, triggers=triggers))
    chosen = SwapJob(url=server, collection="shop", dim=32)
    assert any("UPDATE qvec_collections SET name" in step for step in plan_swap(chosen))
    assert swap(chosen, switch=False).dim == 256
    db.execute(f"UPDATE {SHOP} SET body = 'between ' || id WHERE id <= 9; DELETE FROM {SHOP} WHERE id = 10")
    report = swap(chosen)
    assert (report.is_switched, report.dim, report.recall) == (True, 32, pytest.approx(1))
    if not in_table or triggers:
        assert report.records == 299
    db.execute(f"UPDATE {SHOP} SET body = 'after' WHERE id = 11")
    if triggers:
        assert sync(server, "shop").embedded == 1
    else:
        attach(job(server, in_table=in_table))
    assert verify(Attached(url=server, collection="shop")).is_same
    with qvec.connect(server) as database:
        [hit] = database.collection("shop").search("after", k=1, mode="lexical")
        assert (hit.id, {name for name in hit.metadata if name.startswith("qvec")}) == ("11", set())
    assert roll_back(chosen).dim == 256
    assert verify(Attached(url=server, collection="shop")).is_same
    swap(chosen)
    if not triggers:
        end_swap(chosen)
    assert verify(Attached(url=server, collection="shop")).is_same
    undo(Attached(url=server, collection="shop"))
    assert tables(db)[0] == before[0]


def test_undo_of_a_copy_takes_an_open_swap_away(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS[:30]))
    made = CopyJob(source="rows.jsonl", target=address, collection="books", model="hashing")
    copy(made)
    swap(SwapJob(url=address, collection="books", dim=64))
    assert plan_undo(made)[0] == "drop the collection books_swap"
    undo(made)
    with qvec.connect(address) as database:
        assert database.collections() == []
    assert list((tmp_path / ".qvec" / "migrate").iterdir()) == []
