"""Ctrl-C and SIGTERM end a migration after the batch in hand; what was done stays done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import qvec
from qvec.migrate import Attached, CopyJob, CopyProgress, IndexJob, SwapJob, attach, attach_index, copy, swap, verify
from qvec.registry import embedded_uri
from tests.migrate.collections import lite_client
from tests.migrate.collections import make as make_collection
from tests.migrate.postgres import own_database, psycopg
from tests.migrate.test_attach import db, job, make
from tests.migrate.test_sync import SHOP, rows_of, texts_and_vectors_agree

__all__ = ["db"]
STOPPED = "qvec: stops after this batch; once more stops at once\n\nqvec: interrupted\n"
# The model waits here to be told, so that a signal meets a batch under way.
SLOW = """
import sys
from qvec.embedders.hashing import HashingEmbedder
embed = HashingEmbedder.encode_document

def slowly(self, texts):
    print("batch", len(texts), flush=True)
    sys.stdin.readline()
    return embed(self, texts)

HashingEmbedder.encode_document = slowly
from qvec.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def start(*arguments: str, folder: Path, stdin: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, "migrate", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "QVEC_MODEL": "hashing"},
    )


def stopped_at(child: subprocess.Popen[str], batches: int, number: int) -> tuple[int, str]:
    """Send the signal while a batch is embedded; return exit code and stderr."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    for line in child.stdout:
        batches -= line.startswith("batch")
        if not batches:
            break
        if line.startswith("batch"):
            child.stdin.write("\n")
            child.stdin.flush()
    child.send_signal(number)
    heard = [child.stderr.readline()]
    while heard[-1] and "stops after" not in heard[-1]:
        heard.append(child.stderr.readline())
    _, told = child.communicate(timeout=200)
    # How far it is, it tells at most every so many seconds.
    lines = [*heard, *told.splitlines(keepends=True)]
    return child.returncode, "".join(line for line in lines if " rows  " not in line)


def test_an_attach_stops_after_the_batch(server: str, db: psycopg.Connection, tmp_path: Path) -> None:
    make(db, rows=900)
    arguments = ("attach", server, 'Ar"ticles %', "--schema", "My Shop", "--text", "{heading}\\n{body}")
    child = start(*arguments, "--collection", "shop", folder=tmp_path)
    code, told = stopped_at(child, 2, signal.SIGINT)
    assert (code, "stops after this batch" in told, "interrupted" in told) == (130, True, True)
    assert attach(job(server)).embedded == 900 - 2 * 256
    assert texts_and_vectors_agree(server, rows_of(db))


def test_a_copy_stops_after_the_batch(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": str(number), "text": f"row {number}"}) + "\n" for number in range(2000))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    target = embedded_uri("faiss", tmp_path / "target").reveal()
    arguments = ("copy", "rows.jsonl", "--collection", "rows", "--backend", target, "--journal", "state")
    code, _ = stopped_at(start(*arguments, folder=tmp_path), 2, signal.SIGINT)
    assert code == 130
    chosen = CopyJob(source=str(tmp_path / "rows.jsonl"), target=target, collection="rows", journal=tmp_path / "state")
    told: list[CopyProgress] = []
    assert copy(chosen, progress=told.append).documents == 2000
    left = 2000 - 2 * 512
    assert [(state.read, state.total) for state in told if not state.step] == [(512, left), (left, left)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_ends_with_the_batch_and_without_an_error(
    number: int, server: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    make(db, rows=900)
    attach(job(server, triggers=True))
    db.execute(f"UPDATE {SHOP} SET body = 'other ' || id")
    child = start("sync", server, "shop", "--follow", "--json", "--every", "0.2", folder=tmp_path)
    code, _ = stopped_at(child, 2, number)
    assert code == 0
    (number_of,) = db.execute("SELECT number FROM qvec_collections WHERE name = 'shop'").fetchone()
    assert db.execute(f"SELECT count(*) FROM qvec_{number_of}_queue").fetchone() == (900 - 2 * 256,)


def test_a_daemon_follows_until_it_is_stopped(server: str, db: psycopg.Connection, tmp_path: Path) -> None:
    make(db, rows=10)
    attach(job(server, triggers=True))
    arguments = ("sync", server, "shop", "--follow", "--every", "0.2")
    with start(*arguments, folder=tmp_path, stdin=subprocess.DEVNULL) as child:
        for round in range(3):
            db.execute(f"UPDATE {SHOP} SET body = 'round {round}'")
            deadline = time.monotonic() + 80
            while not texts_agree(server, db):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        _, told = child.communicate(timeout=200)
    assert (child.returncode, told.count("failed")) == (0, 0)
    assert texts_and_vectors_agree(server, rows_of(db))


def texts_agree(server: str, db: psycopg.Connection) -> bool:
    (number,) = db.execute("SELECT number FROM qvec_collections WHERE name = 'shop'").fetchone()
    return db.execute(f"SELECT count(*) FROM qvec_{number}_queue").fetchone() == (0,)


def test_an_attach_of_a_collection_stops_after_the_batch(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus")
    address = embedded_uri("milvus", tmp_path / "db").reveal()
    with lite_client(address) as client:
        make_collection(client, "articles", rows=700)
    child = start("attach-index", address, "articles", "--text", "body", folder=tmp_path)
    code, told = stopped_at(child, 2, signal.SIGINT)
    assert (code, told) == (130, STOPPED)
    report = attach_index(IndexJob(url=address, index="articles", text="body", model="hashing"))
    assert (report.embedded, report.unchanged) == (700 - 2 * 256, 2 * 256)
    assert verify(Attached(url=address, collection="articles")).is_same


@pytest.mark.parametrize("backend", ["faiss", "pgvector"])
def test_a_swap_stops_after_the_batch(backend: str, server: str, tmp_path: Path) -> None:
    address = own_database(server, "stopped") if backend == "pgvector" else embedded_uri(backend, tmp_path).reveal()
    qvec.index(
        "books", [{"id": str(row), "text": f"row {row}"} for row in range(900)], backend=address, model="hashing"
    )
    arguments = ("swap", address, "books", "--dim", "64", "--journal", "state")
    code, told = stopped_at(start(*arguments, folder=tmp_path), 2, signal.SIGTERM)
    assert (code, told) == (130, STOPPED)
    report = swap(SwapJob(url=address, collection="books", dim=64, journal=tmp_path / "state"))
    assert (report.is_switched, report.records, report.followed) == (True, 900, 900 - 2 * 256)
