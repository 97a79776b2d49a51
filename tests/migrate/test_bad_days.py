"""A model's server that goes away, rows that it refuses, connections that break, and rights that are missing."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import qvec
from qvec.embedders.remote import RemoteEmbedder
from qvec.embedders.remote.retrying import Retries
from qvec.errors import BackendConnectionError, EndpointError, InvalidInputError
from qvec.migrate import (
    AttachJob,
    CopyJob,
    FieldMap,
    MigrationError,
    attach,
    copy,
    detach,
    follow,
    sync,
    sync_status,
    undo_copy,
)
from qvec.registry import embedded_uri, load_embedder
from tests.core.endpoint import Endpoint, Faults
from tests.migrate.postgres import psycopg
from tests.migrate.test_attach import db, job, make
from tests.migrate.test_sync import SHOP, rows_of, texts_and_vectors_agree

__all__ = ["db"]
QUICK = Retries(tries=2, first_wait=0.01, longest_wait=0.02)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(Faults()) as found:
        yield found


@pytest.fixture
def remote(endpoint: Endpoint) -> Iterator[RemoteEmbedder]:
    with RemoteEmbedder(endpoint.name, retries=QUICK, env={}) as found:
        yield found


def ids(server: str, name: str = "shop") -> list[str]:
    with qvec.connect(server) as database:
        return sorted(document.id for batch in database.adapter.scan(name) for document in batch.documents)


def test_an_attach_whose_model_server_goes_down_goes_on_when_it_is_back(
    server: str, db: psycopg.Connection, endpoint: Endpoint, remote: RemoteEmbedder
) -> None:
    make(db)

    def fall(state: object) -> None:
        endpoint.faults.status = 503

    chosen = job(server, model=None, embedder=remote)
    with pytest.raises(EndpointError):
        attach(chosen, progress=fall)
    assert len(ids(server)) == 256
    endpoint.faults.status = None
    assert attach(chosen).embedded == 600 - 256
    assert len(ids(server)) == 600


def test_a_copy_whose_model_server_goes_down_goes_on_when_it_is_back(
    tmp_path: Path, endpoint: Endpoint, remote: RemoteEmbedder
) -> None:
    rows = "".join(json.dumps({"id": str(number), "text": f"row {number}"}) + "\n" for number in range(1500))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    chosen = CopyJob(
        source=str(tmp_path / "rows.jsonl"), target=embedded_uri("faiss", tmp_path / "t").reveal(), collection="rows",
        embedder=remote, journal=tmp_path / "state",
    )  # fmt: skip

    def fall(state: object) -> None:
        endpoint.faults.status = 503

    with pytest.raises(EndpointError):
        copy(chosen, progress=fall)
    endpoint.faults.status = None
    assert copy(chosen).documents == 1500
    assert len(ids(chosen.target, "rows")) == 1500


def test_the_queue_waits_for_a_model_server_that_is_down(
    server: str, db: psycopg.Connection, endpoint: Endpoint, remote: RemoteEmbedder
) -> None:
    make(db, rows=20)
    attach(job(server, model=None, embedder=remote, triggers=True))
    db.execute(f"UPDATE {SHOP} SET body = 'other ' || id")
    endpoint.faults.status = 503
    with pytest.raises(EndpointError):
        sync(server, "shop", embedder=remote)
    found = sync_status(server, "shop")
    assert (found.waiting, found.later, found.errors) == (20, 0, [])
    assert found.lag > 0
    stop = threading.Event()
    told: list[object] = []

    def heard(found: object) -> None:
        told.append(found)
        endpoint.faults.status = None
        if isinstance(found, EndpointError):
            return
        stop.set()

    follow(server, "shop", stop=stop, every=0.1, embedder=remote, told=heard)
    assert isinstance(told[0], EndpointError)
    assert sync_status(server, "shop").waiting == 0


def test_a_row_that_brings_the_server_down_is_told_apart_and_tried_again_later(
    server: str, db: psycopg.Connection, endpoint: Endpoint, remote: RemoteEmbedder
) -> None:
    make(db, rows=40)
    attach(job(server, model=None, embedder=remote, triggers=True))
    endpoint.faults.nan_for = "poison"
    db.execute(f"UPDATE {SHOP} SET body = 'other ' || id; UPDATE {SHOP} SET body = 'poison' WHERE id = 17")
    report = sync(server, "shop", embedder=remote)
    assert (report.embedded, report.failed, report.waiting, report.later) == (39, 1, 0, 1)
    assert [key for key, _ in report.errors] == ["17"]
    assert sync(server, "shop", embedder=remote).failed == 0  # not due yet
    (number,) = db.execute("SELECT number FROM qvec_collections WHERE name = 'shop'").fetchone()
    due = "SELECT tries, round(extract(epoch FROM due - clock_timestamp()) / 60) FROM"
    waits = []
    for _ in range(7):
        waits += db.execute(f"{due} qvec_{number}_queue").fetchall()
        db.execute(f"UPDATE qvec_{number}_queue SET due = clock_timestamp()")
        assert sync(server, "shop", embedder=remote).failed == 1
    assert waits == [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 64)]
    found = sync_status(server, "shop")
    assert (found.later, [key for key, _ in found.errors]) == (0, ["17"])
    db.execute(f"UPDATE {SHOP} SET body = 'harmless' WHERE id = 17")
    assert sync(server, "shop", embedder=remote).errors == []
    assert len(ids(server)) == 40


def test_a_connection_that_breaks_costs_one_batch(server: str, db: psycopg.Connection) -> None:
    make(db)

    def cut(state: object) -> None:
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        db.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}")

    with pytest.raises(BackendConnectionError):
        attach(job(server), progress=cut)
    # The first batch was being written, and may have been in time.
    assert attach(job(server)).embedded in (600 - 256, 600)
    assert texts_and_vectors_agree(server, rows_of(db))


def attached_at_once(url: str, go: object, answers: object) -> None:
    go.wait()
    try:
        answers.put(attach(job(url)).embedded)
    except MigrationError as exc:
        answers.put(str(exc))


def test_of_attaches_that_begin_at_the_same_moment_one_does_it(server: str, db: psycopg.Connection) -> None:
    make(db)
    context = multiprocessing.get_context("forkserver")
    go, answers = context.Barrier(3), context.Queue()
    children = [context.Process(target=attached_at_once, args=(server, go, answers)) for _ in range(3)]
    for child in children:
        child.start()
    told = [answers.get(timeout=200) for _ in children]
    for child in children:
        child.join()
    assert 600 in told
    # One that came when the first had finished finds nothing to do.
    assert all(item in (600, 0) or "at work" in str(item) for item in told), told
    assert texts_and_vectors_agree(server, rows_of(db))


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_names_may_hold_quotes_everywhere(in_table: bool, server: str, db: psycopg.Connection) -> None:
    name, key, text = 'a "b\'c" %s', "k'e\"y %", "te\"x't {}"
    quoted = ['"' + item.replace('"', '""') + '"' for item in (name, key, text)]
    db.execute(f'CREATE TABLE "My Shop".{quoted[0]} ({quoted[1]} text PRIMARY KEY, {quoted[2]} text)')
    db.execute(f"INSERT INTO \"My Shop\".{quoted[0]} VALUES ('it''s', 'first words'), ('\"', 'second words')")
    chosen = AttachJob(
        url=server, table=name, schema="My Shop", collection="o'clock \"x\"", model="hashing", in_table=in_table,
        triggers=True, fields=FieldMap(text=text),
    )  # fmt: skip
    with pytest.raises(qvec.QvecError, match="collection"):
        attach(chosen)
    chosen = AttachJob(**{**{item: getattr(chosen, item) for item in AttachJob.__slots__}, "collection": "quoted"})
    attach(chosen)
    db.execute(f"UPDATE \"My Shop\".{quoted[0]} SET {quoted[2]} = 'third' WHERE {quoted[1]} = '\"'")
    assert sync(server, "quoted").embedded == 1
    with qvec.connect(server) as database:
        assert database.collection("quoted").search("third", k=1)[0].id == '"'
        assert ids(server, "quoted") == ['"', "it's"]
    detach(server, "quoted")


def test_a_copy_takes_names_with_quotes(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute('CREATE TABLE "a ""b\'c"" %s" ("k\'e""y %" TEXT PRIMARY KEY, "te""x\'t" TEXT)')
        db.executemany('INSERT INTO "a ""b\'c"" %s" VALUES (?, ?)', [("it's", "one"), ('"', "two")])
    db.close()
    target = embedded_uri("faiss", tmp_path / "t").reveal()
    copy(
        CopyJob(
            source=f"sqlite:///{tmp_path / 'a.db'}", table='a "b\'c" %s', target=target, collection="rows",
            model="hashing", fields=FieldMap(text='te"x\'t'), journal=tmp_path / "j",
        )
    )  # fmt: skip
    assert ids(target, "rows") == ['"', "it's"]


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_rows_edited_while_the_backfill_runs_end_as_they_are(
    in_table: bool, server: str, db: psycopg.Connection
) -> None:
    make(db, rows=1000)
    stop = threading.Event()

    def write() -> None:
        number = 0
        with psycopg.connect(server, autocommit=True) as writer:
            while not stop.is_set():
                number += 1
                writer.execute(f"UPDATE {SHOP} SET body = 'edit {number}' WHERE id % 37 = {number % 37}")
                writer.execute(f"DELETE FROM {SHOP} WHERE id = {number * 13 % 1000}")
                writer.execute(f"UPDATE {SHOP} SET id = id + 5000 WHERE id = {number * 7 % 1000}")
                writer.execute(f"INSERT INTO {SHOP} (id, heading, body) VALUES ({-number}, 'new', '{number}')")

    busy = threading.Thread(target=write)
    attach(job(server, in_table=in_table, triggers=True), progress=lambda _: busy.ident or busy.start())
    stop.set()
    busy.join()
    assert sync(server, "shop").waiting == 0
    assert texts_and_vectors_agree(server, rows_of(db))


def test_without_triggers_a_second_attach_meets_what_was_edited_meanwhile(server: str, db: psycopg.Connection) -> None:
    make(db)
    numbers = iter(range(1, 10))

    def edit(_: object) -> None:
        number = next(numbers)
        db.execute(f"UPDATE {SHOP} SET body = 'edit {number}' WHERE id % 10 = {number}")
        db.execute(f"DELETE FROM {SHOP} WHERE id % 60 = {number}")

    attach(job(server), progress=edit)
    attach(job(server))
    assert texts_and_vectors_agree(server, rows_of(db))


def test_a_row_over_the_models_window_has_no_place_in_the_table_itself(server: str, db: psycopg.Connection) -> None:
    make(db, rows=3)
    db.execute(f"UPDATE {SHOP} SET body = repeat('some words. ', 50) WHERE id = 2")
    short = load_embedder("hashing")
    short.max_tokens = 40
    report = attach(job(server, model=None, embedder=short, in_table=True))
    assert (report.embedded, report.errors) == (2, [("2", "its text is over the model's window")])


def test_keys_that_occur_twice_in_a_csv_file_are_named_by_line(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "text"), ("1", "one\nin two lines"), ("2", "two"), ("1", "again"), ("3", "three")])
    chosen = CopyJob(
        source=str(tmp_path / "a.csv"), target=embedded_uri("faiss", tmp_path / "t").reveal(), collection="rows",
        model="hashing", journal=tmp_path / "j",
    )  # fmt: skip
    report = copy(chosen)
    assert (report.documents, report.errors) == (3, [("a.csv:5", "its id '1' occurred before")])
    with pytest.raises(InvalidInputError, match=r"a.csv:5: its id '1' occurred before"):
        copy(chosen, restart=True, on_error="stop")


def test_who_may_not_alter_is_offered_a_companion_table(server: str, db: psycopg.Connection) -> None:
    make(db, rows=3)
    db.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    db.execute('GRANT USAGE ON SCHEMA "My Shop" TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA "My Shop" TO reader')
    db.execute("CREATE EXTENSION IF NOT EXISTS vector; GRANT CREATE ON SCHEMA public TO reader")
    weak = server.replace("//postgres:", "//reader:")
    with pytest.raises(MigrationError, match=r"may not alter.*companion table"):
        attach(job(weak, in_table=True))
    with pytest.raises(MigrationError, match=r"no right to make triggers.*version column"):
        attach(job(weak, triggers=True))
    name = psycopg.sql.Identifier(db.info.dbname)
    db.execute(psycopg.sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))
    with pytest.raises(MigrationError, match=r"temporary tables.*GRANT TEMPORARY"):
        attach(job(weak))
    db.execute(psycopg.sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(name))
    with qvec.connect(weak) as database:
        assert database.collections() == []
    assert attach(job(weak)).embedded == 3
    detach(weak, "shop")
    db.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize("full", ["target", "journal"])
def test_a_copy_onto_a_full_disk_says_so_and_goes_on_when_there_is_room(full: str, server: str, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": str(number), "text": f"row {number}"}) + "\n" for number in range(3000))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    # No file of this process grows beyond a limit; the server's may.
    target = embedded_uri("faiss", tmp_path / "target").reveal() if full == "target" else server
    dim, limit = (256, 2**20) if full == "target" else (8, 90_000)
    code = (
        "import resource, sys; from qvec.cli.app import run; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); sys.exit(run(sys.argv[1:]))"
    )
    command = ["migrate", "copy", "rows.jsonl", "--collection", "rows", "--backend", target, "--journal", "state"]
    command += ["--model", "hashing", "--dim", str(dim)]
    root = str(Path(__file__).parents[2])
    child = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": root},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (child.returncode, "Traceback" in child.stderr) == (1, False), child.stderr
    assert ("state" in child.stderr) == (full == "journal"), child.stderr
    chosen = CopyJob(
        source=str(tmp_path / "rows.jsonl"), target=target, collection="rows", model="hashing", dim=dim,
        journal=tmp_path / "state",
    )  # fmt: skip
    assert copy(chosen).documents == 3000
    assert len(ids(target, "rows")) == 3000
    assert undo_copy(chosen)
