"""kill -9 at twenty random points of a copy and of an attach: run again, nothing is lost and nothing is there twice."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from qvec.migrate import AttachJob, CopyJob, attach, copy, detach
from qvec.registry import embedded_uri, load_embedder, open_adapter
from qvec.types import IndexSpec
from tests.migrate.postgres import own_database, psycopg, wait_until_alone

POINTS, ROWS = 20, 800
TEXTS = {f"k{number}": f"row {number} is about topic{number % 11}" for number in range(ROWS)}
# Its server has imported all by the first run, so that a child dies at work and not while it imports.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["tests.migrate.test_killed", "sqlalchemy.dialects.postgresql.psycopg", "faiss", "pymilvus", "milvus_lite"]
)


@pytest.fixture
def address(server: str) -> str:
    """A database of one test alone."""
    return own_database(server, "killed")


def copy_job(source: Path, target: str) -> CopyJob:
    return CopyJob(source=str(source), target=target, collection="books", model="hashing", journal=source.parent / "j")


def attach_job(url: str, in_table: bool) -> AttachJob:
    index = IndexSpec("hnsw", m=4, ef_construction=16)
    return AttachJob(
        url=url, table="t", collection="books", model="hashing", in_table=in_table, triggers=True, index=index
    )


def run_copy(source: Path, target: str) -> None:
    copy(copy_job(source, target))


def run_attach(url: str, in_table: bool) -> None:
    attach(attach_job(url, in_table))


def killed_after(seconds: float, work: Callable[..., None], *arguments: object) -> bool:
    """Run in a process that gets signal 9 after so long; say whether it was still at work."""
    child = PROCESSES.Process(target=work, args=arguments)
    child.start()
    child.join(seconds)
    was_alive = child.is_alive()
    child.kill()
    child.join()
    assert was_alive or child.exitcode == 0
    return was_alive


class Kills:
    """Kills at random times within that of an unbroken run, which later ones shorten: the first is the slowest.

    How long a run takes depends on what else the machine does, so that some kills come too late.

    Attributes:
        hits: how many were still at work.
    """

    def __init__(self, work: Callable[[], bool], seed: int) -> None:
        started = time.monotonic()
        assert not work()
        self._whole = time.monotonic() - started
        self._chance = random.Random(seed)
        self.hits = 0

    def points(self, count: int) -> Iterator[int]:
        """Number so many runs, and more until a quarter of them were hit, four times as many at most."""
        number = 0
        while number < count or (self.hits < count // 4 and number < 4 * count):
            yield number
            number += 1
        assert self.hits >= count // 4

    def __call__(self, work: Callable[..., None], *arguments: object) -> None:
        seconds = self._chance.uniform(0, self._whole)
        if killed_after(seconds, work, *arguments):
            self.hits += 1
        else:
            self._whole = min(self._whole, seconds)


def check(target: str) -> None:
    """The target holds each row once, with the vector of its text."""
    adapter = open_adapter(target)
    try:
        batches = list(adapter.scan("books", vectors=True))
        assert adapter.count("books") == ROWS
    finally:
        adapter.close()
    documents = [document for batch in batches for document in batch.documents]
    assert len(documents) == ROWS
    assert {document.id: document.text for document in documents} == TEXTS
    made = load_embedder("hashing").encode_document([document.searchable_text for document in documents])
    np.testing.assert_allclose(np.concatenate([batch.vectors for batch in batches]), made, atol=1e-6)


@pytest.mark.parametrize("backend", ["faiss", "pgvector"])
def test_a_copy_killed_at_any_point_is_finished_by_the_next(backend: str, tmp_path: Path, address: str) -> None:
    lines = "".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in TEXTS.items())

    def place(number: int) -> tuple[Path, str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
        if backend == "faiss":
            return folder / "rows.jsonl", embedded_uri("faiss", folder / "target").reveal()
        adapter = open_adapter(address)
        adapter.drop_collection("books", missing_ok=True)
        adapter.close()
        return folder / "rows.jsonl", address

    kill = Kills(lambda: killed_after(200, run_copy, *place(-1)), seed=1)
    for number in kill.points(POINTS):
        source, target = place(number)
        kill(run_copy, source, target)
        report = copy(copy_job(source, target))
        assert (report.documents, report.failed) == (ROWS, 0)
        check(target)
        shutil.rmtree(source.parent)


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_an_attach_killed_at_any_point_is_finished_by_the_next(in_table: bool, address: str) -> None:
    def prepare() -> None:
        with psycopg.connect(address, autocommit=True) as db:
            if db.execute("SELECT to_regclass('qvec_attached')").fetchone()[0]:
                detach(address, "books")
            db.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id text PRIMARY KEY, text text)")
            with db.cursor().copy("COPY t FROM STDIN") as rows:
                for row in TEXTS.items():
                    rows.write_row(row)

    prepare()
    kill = Kills(lambda: killed_after(200, run_attach, address, in_table), seed=2)
    for _ in kill.points(POINTS):
        prepare()
        kill(run_attach, address, in_table)
        wait_until_alone(address)
        assert attach(attach_job(address, in_table)).failed == 0
        check(address)
        check_bookkeeping(address)
    detach(address, "books")


def check_bookkeeping(address: str) -> None:
    """The totals that keyword scores rest on are those of the rows, and every index is valid and there once."""
    with psycopg.connect(address, autocommit=True) as db:
        number, documents, tokens = db.execute("SELECT number, documents, tokens FROM qvec_collections").fetchone()
        summed = db.execute(f"SELECT count(*), sum(token_count) FROM qvec_{number}").fetchone()
        assert summed == (documents, tokens)
        found = db.execute(
            "SELECT count(*) FILTER (WHERE am.amname = 'hnsw'), bool_and(i.indisvalid) FROM pg_index i "
            "JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam WHERE c.relname LIKE 'qvec%'"
        ).fetchone()
        assert found == (1, True)
