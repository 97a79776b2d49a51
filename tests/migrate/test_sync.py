"""What is written to an attached table is followed, by any number of workers."""

from __future__ import annotations

import threading
import time

import pytest

import qvec
from qvec.errors import EndpointError
from qvec.migrate import MigrationError, attach, detach, sync
from qvec.registry import load_embedder
from tests.migrate.postgres import psycopg
from tests.migrate.test_attach import db, job, make, tables

__all__ = ["db"]
SHOP = '"My Shop"."Ar""ticles %"'


def texts_and_vectors_agree(server: str, database_rows: dict[str, str]) -> bool:
    """Every vector is that of its row's text as it is now, and no row is without one."""
    embedder = load_embedder("hashing")
    with qvec.connect(server) as database:
        documents = [document for batch in database.adapter.scan("shop") for document in batch.documents]
        vectors = database.adapter.get_vectors("shop", [document.id for document in documents])
        assert {document.id: document.text for document in documents} == database_rows
        assert database.collection("shop").count() == len(database_rows)
    made = embedder.encode_document([document.searchable_text for document in documents])
    return all(
        (vectors[document.id] == pytest.approx(row, abs=1e-6)) for document, row in zip(documents, made, strict=True)
    )


def rows_of(db: psycopg.Connection) -> dict[str, str]:
    return dict(db.execute(f"SELECT id::text, heading || E'\\n' || body FROM {SHOP}").fetchall())


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_inserts_updates_and_deletes_are_followed(in_table: bool, server: str, db: psycopg.Connection) -> None:
    make(db, rows=300)
    before = tables(db)[0]
    attach(job(server, triggers=True, in_table=in_table))
    db.execute(f"UPDATE {SHOP} SET body = 'new words ' || id WHERE id <= 20; DELETE FROM {SHOP} WHERE id > 290")
    db.execute(f"INSERT INTO {SHOP} (id, heading, body) VALUES (1000, 'fresh', 'row')")
    db.execute(f"UPDATE {SHOP} SET id = 2000 WHERE id = 30; UPDATE {SHOP} SET lang = 'xx'")
    report = sync(server, "shop")
    assert (report.embedded, report.deleted, report.waiting) == (22, 11, 0)
    assert texts_and_vectors_agree(server, rows_of(db))
    detach(server, "shop")
    assert tables(db)[0] == before
    assert db.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'qvec%'").fetchone() == (0,)


def test_rows_changed_during_the_backfill_end_as_they_are(server: str, db: psycopg.Connection) -> None:
    make(db)
    changes = iter(range(1, 100))

    def edit(_: object) -> None:
        number = next(changes)
        db.execute(f"UPDATE {SHOP} SET body = 'changed {number}' WHERE id % 50 = {number}")
        db.execute(f"DELETE FROM {SHOP} WHERE id % 60 = {number}")

    attach(job(server, triggers=True), progress=edit)
    sync(server, "shop")
    assert texts_and_vectors_agree(server, rows_of(db))


def test_several_workers_and_a_writer_lose_nothing(server: str, db: psycopg.Connection) -> None:
    make(db, rows=400)
    attach(job(server, triggers=True))
    failures: list[BaseException] = []
    stop = time.monotonic() + 3

    def work() -> None:
        try:
            while time.monotonic() < stop:
                sync(server, "shop", embedder=load_embedder("hashing"))
        except BaseException as exc:
            failures.append(exc)
            raise

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    with psycopg.connect(server, autocommit=True) as writer:
        number = 0
        while time.monotonic() < stop:
            number += 1
            writer.execute(f"UPDATE {SHOP} SET body = 'edit {number}' WHERE id % 17 = {number % 17}")
            writer.execute(f"DELETE FROM {SHOP} WHERE id = {number}")
    for worker in workers:
        worker.join()
    assert failures == []
    assert sync(server, "shop").waiting == 0
    assert texts_and_vectors_agree(server, rows_of(db))


def test_a_row_that_cannot_be_embedded_does_not_stop_the_rest(server: str, db: psycopg.Connection) -> None:
    make(db, rows=10)
    attach(job(server, triggers=True))
    db.execute(f"UPDATE {SHOP} SET heading = '', body = '' WHERE id = 1; UPDATE {SHOP} SET body = 'fine' WHERE id = 2")
    report = sync(server, "shop")
    assert (report.embedded, report.failed, report.waiting) == (1, 1, 0)


class Broken:
    """A model whose server is down."""

    def __init__(self) -> None:
        whole = load_embedder("hashing")
        for name in ("model_id", "revision", "dim", "max_tokens", "pooling", "prompt_digest", "count_tokens"):
            setattr(self, name, getattr(whole, name))

    def encode_document(self, texts: object) -> object:
        raise EndpointError("the server is down")


def test_a_failing_model_leaves_the_queue_as_it_was(server: str, db: psycopg.Connection) -> None:
    make(db, rows=10)
    attach(job(server, triggers=True))
    db.execute(f"UPDATE {SHOP} SET body = 'other ' || id")
    with pytest.raises(EndpointError):
        sync(server, "shop", embedder=Broken())
    assert sync(server, "shop").embedded == 10


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_a_truncated_table_is_followed(in_table: bool, server: str, db: psycopg.Connection) -> None:
    make(db, rows=300)
    attach(job(server, triggers=True, in_table=in_table))
    db.execute(f"UPDATE {SHOP} SET body = 'queued ' || id; TRUNCATE {SHOP}")
    with qvec.connect(server) as database:
        assert database.collection("shop").search("word5") == []
    db.execute(f"INSERT INTO {SHOP} (id, heading, body) VALUES (7, 'came', 'after')")
    assert sync(server, "shop").waiting == 0
    assert texts_and_vectors_agree(server, rows_of(db))
    companion = "SELECT sum(documents) FROM qvec_collections WHERE name = 'shop'"
    assert db.execute(companion).fetchone() == (1,)


def test_a_table_without_triggers_is_told_to_attach_again(server: str, db: psycopg.Connection) -> None:
    make(db, rows=1)
    attach(job(server))
    with pytest.raises(MigrationError, match="without triggers"):
        sync(server, "shop")
