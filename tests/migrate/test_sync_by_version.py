"""Following a table without triggers: by a column that changes with every row that does."""

from __future__ import annotations

import threading

import pytest

from qvec.errors import InvalidInputError
from qvec.migrate import MigrationError, attach, detach, sync, sync_status
from qvec.registry import load_embedder
from tests.migrate.postgres import psycopg
from tests.migrate.test_attach import db, job, make, tables
from tests.migrate.test_sync import SHOP, rows_of, texts_and_vectors_agree

__all__ = ["db"]
TOUCH = (
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
    '$$ BEGIN NEW."changed" := clock_timestamp(); RETURN NEW; END $$; '
    f"CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON {SHOP} FOR EACH ROW EXECUTE FUNCTION touch()"
)


@pytest.fixture
def shop(db: psycopg.Connection) -> psycopg.Connection:
    make(db, rows=600)
    db.execute(f"ALTER TABLE {SHOP} ADD COLUMN changed timestamptz DEFAULT now(), ADD COLUMN version int DEFAULT 1")
    db.execute(f"DROP FUNCTION IF EXISTS touch CASCADE; {TOUCH}")
    return db


def edit(db: psycopg.Connection) -> None:
    db.execute(f"UPDATE {SHOP} SET body = 'new words ' || id, version = version + 1 WHERE id <= 20")
    db.execute(f"DELETE FROM {SHOP} WHERE id > 590")
    db.execute(f"INSERT INTO {SHOP} (id, heading, body) VALUES (1000, 'fresh', 'row')")


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
@pytest.mark.parametrize("column", ["changed", "version"])
def test_rows_are_followed_by_their_version(column: str, in_table: bool, server: str, shop: psycopg.Connection) -> None:
    before = tables(shop)[0]
    attach(job(server, version=column, in_table=in_table))
    sync(server, "shop")
    edit(shop)
    status = sync_status(server, "shop")
    # A number does not tell when it was written.
    assert (status.waiting, status.lag > 0) == (31, column == "changed")
    report = sync(server, "shop")
    assert (report.embedded, report.deleted, report.waiting) == (
        21,
        10,
        21 if (column, in_table) == ("changed", True) else 0,
    )
    assert texts_and_vectors_agree(server, rows_of(shop))
    assert (sync(server, "shop").embedded, sync_status(server, "shop").waiting) == (0, 0)
    detach(server, "shop")
    assert tables(shop)[0] == before


def test_a_row_that_another_transaction_wrote_earlier_and_committed_later_is_met(
    server: str, shop: psycopg.Connection
) -> None:
    attach(job(server, version="changed"))
    with psycopg.connect(server) as late:
        late.execute(f"UPDATE {SHOP} SET body = 'late' WHERE id = 1")
        shop.execute(f"UPDATE {SHOP} SET body = 'early' WHERE id = 2")
        assert sync(server, "shop").embedded == 1
        late.commit()
    assert sync(server, "shop").embedded == 1
    assert texts_and_vectors_agree(server, rows_of(shop))


def test_rows_changed_while_the_backfill_runs_are_met_afterwards(server: str, shop: psycopg.Connection) -> None:
    changes = iter(range(1, 100))

    def meanwhile(_: object) -> None:
        number = next(changes)
        shop.execute(f"UPDATE {SHOP} SET body = 'changed {number}', version = version + 1 WHERE id % 50 = {number}")
        shop.execute(f"DELETE FROM {SHOP} WHERE id % 60 = {number}")

    attach(job(server, version="version"), progress=meanwhile)
    sync(server, "shop")
    assert texts_and_vectors_agree(server, rows_of(shop))


def test_several_workers_do_each_row_once(server: str, shop: psycopg.Connection) -> None:
    attach(job(server, version="version"))
    shop.execute(f"UPDATE {SHOP} SET body = 'all new ' || id, version = version + 1")
    done: list[int] = []
    model = load_embedder("hashing")
    workers = [
        threading.Thread(target=lambda: done.append(sync(server, "shop", embedder=model).embedded)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.append(sync(server, "shop").embedded)
    assert sum(done) == 600
    assert texts_and_vectors_agree(server, rows_of(shop))


def test_a_version_column_that_is_not_there_is_refused(server: str, shop: psycopg.Connection) -> None:
    with pytest.raises(InvalidInputError, match="no column 'updated'"):
        attach(job(server, version="updated"))


def test_a_table_with_neither_is_told_what_to_do(server: str, shop: psycopg.Connection) -> None:
    attach(job(server))
    with pytest.raises(MigrationError, match="without triggers or a version column"):
        sync_status(server, "shop")
