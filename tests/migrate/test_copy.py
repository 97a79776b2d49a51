"""Copies from files, SQL and collections: whole, resumable, compared at the end, and undone."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import qvec
from qvec.errors import InvalidInputError, PassportMismatchError
from qvec.migrate import CopyJob, FieldMap, MigrationError, VerificationError, copy, plan_copy, undo_copy, verify
from qvec.migrate.journal import Journal
from qvec.registry import embedded_uri, load_embedder, open_adapter

ROWS = [
    {"id": f"r{number}", "title": f"Title {number}", "body": f"body of row {number} on topic{number % 5}", "n": number}
    for number in range(60)
]
MAP = FieldMap(text="{title}\n{body}", metadata=("n",))


@pytest.fixture
def target(tmp_path: Path) -> str:
    return embedded_uri("faiss", tmp_path / "target").reveal()


@pytest.fixture
def job(tmp_path: Path, target: str) -> Callable[..., CopyJob]:
    def make(source: Path | str, **more: object) -> CopyJob:
        settings = {"model": "hashing", "journal": tmp_path / "state.sqlite", "fields": MAP, **more}
        return CopyJob(source=str(source), target=target, collection="books", **settings)

    return make


def json_lines(path: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, key: str = "id TEXT PRIMARY KEY") -> str:
    with sqlite3.connect(path) as db:
        db.execute(f'CREATE TABLE "My Books" ({key}, title TEXT, body TEXT, n INTEGER)')
        db.executemany('INSERT INTO "My Books" VALUES (:id, :title, :body, :n)', ROWS)
    db.close()
    return f"sqlite:///{path}"


def ids(address: str) -> list[str]:
    adapter = open_adapter(address)
    try:
        return sorted(document.id for batch in adapter.scan("books") for document in batch.documents)
    finally:
        adapter.close()


def csv_file(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def parquet_file(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=25)
    return path


@pytest.mark.parametrize("make", [json_lines, csv_file, parquet_file])
@pytest.mark.parametrize("suffix", ["rows"])
def test_a_file_is_copied_whole(make: Callable[[Path], Path], suffix: str, tmp_path: Path, job: Callable) -> None:
    ending = {json_lines: ".jsonl", csv_file: ".csv", parquet_file: ".parquet"}[make]
    report = copy(job(make(tmp_path / f"{suffix}{ending}")))
    assert (report.documents, report.failed, report.verified, report.carried) == (60, 0, 60, False)
    with qvec.connect(job("x").target) as database:
        hit = database.collection("books").search("body of row 17", mode="lexical", k=1)[0]
    assert (hit.id, hit.text) == ("r17", "Title 17\nbody of row 17 on topic2")
    assert int(hit.metadata["n"]) == 17


def test_a_table_is_copied_in_the_order_of_its_key(tmp_path: Path, job: Callable) -> None:
    report = copy(job(table(tmp_path / "a.db"), table="My Books"))
    assert (report.documents, report.failed) == (60, 0)
    assert ids(job("x").target) == sorted(row["id"] for row in ROWS)


def test_a_composite_key_makes_an_id_that_cannot_be_mistaken(tmp_path: Path, job: Callable) -> None:
    with sqlite3.connect(tmp_path / "c.db") as db:
        db.execute("CREATE TABLE t (a TEXT, b INTEGER, text TEXT, PRIMARY KEY (a, b))")
        rows = [("x/1", 2, "one"), ("x", 12, "two"), ("x%2F1", 2, "three"), ("x", 3, "four")]
        db.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    db.close()
    copy(job(f"sqlite:///{tmp_path / 'c.db'}", table="t", fields=FieldMap()))
    assert ids(job("x").target) == ["x%252F1/2", "x%2F1/2", "x/12", "x/3"]


def test_a_table_without_a_key_is_refused_with_a_way_out(tmp_path: Path, job: Callable) -> None:
    address = table(tmp_path / "a.db", key="id TEXT")
    with pytest.raises(MigrationError, match="has no primary key: name columns"):
        copy(job(address, table="My Books"))
    report = copy(job(address, table="My Books", fields=FieldMap(("id",), "body")))
    assert report.documents == 60


def test_columns_that_do_not_tell_rows_apart_are_refused(tmp_path: Path, job: Callable) -> None:
    address = table(tmp_path / "a.db", key="id TEXT")
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("UPDATE \"My Books\" SET id = 'r1' WHERE id = 'r2'")
    db.close()
    with pytest.raises(MigrationError, match="does not tell the rows"):
        copy(job(address, table="My Books", fields=FieldMap(("id",), "body")))


def test_bad_rows_are_listed_with_their_lines_and_the_rest_is_copied(tmp_path: Path, job: Callable) -> None:
    path = json_lines(tmp_path / "rows.jsonl", ROWS[:3])
    with path.open("ab") as file:
        file.write(b'{"id": "x"\n\n[1]\n{"id": "r1", "body": "again"}\n{"id": "y", "body": "  "}\n')
        file.write(b'{"body": "no id"}\n{"id": "z", "body": "\\u0000"}\n')
    report = copy(job(path))
    assert (report.documents, report.failed) == (3, 6)
    reasons = dict(report.errors)
    assert "not JSON" in reasons["rows.jsonl:4"]
    assert "not an object but list" in reasons["rows.jsonl:6"]
    assert "'r1' occurred before" in reasons["rows.jsonl:7"]
    assert "empty" in reasons["rows.jsonl:8"]
    assert "id column 'id' is empty" in reasons["rows.jsonl:9"]
    assert "NUL" in reasons["rows.jsonl:10"]


def test_a_bad_row_stops_the_copy_when_asked_to(tmp_path: Path, job: Callable) -> None:
    path = json_lines(tmp_path / "rows.jsonl", [*ROWS[:3], {"id": "bad", "body": None}])
    with pytest.raises(InvalidInputError, match=r"rows.jsonl:4: its text is empty"):
        copy(job(path), on_error="stop")


def test_a_csv_row_with_too_many_fields_is_bad(tmp_path: Path, job: Callable) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'id,text\n1,"two\nlines"\n2,a,b\n3,\xff\n4,fine\n')
    report = copy(job(path, fields=FieldMap()))
    assert report.documents == 2
    assert [place for place, _ in report.errors] == ["rows.csv:4", "rows.csv:5"]


def test_a_column_that_is_not_there_is_named(tmp_path: Path, job: Callable) -> None:
    with pytest.raises(InvalidInputError, match="no column 'bodi'; it has id, title, body, n"):
        copy(job(table(tmp_path / "a.db"), table="My Books", fields=FieldMap(text="{title} {bodi}")))


def filled(backend: str, folder: Path, analyzer: str | None = None) -> str:
    address = embedded_uri(backend, folder).reveal()
    docs = [{"id": row["id"], "text": row["body"], "n": row["n"]} for row in ROWS]
    qvec.index("old", docs, backend=address, model="hashing", analyzer=analyzer)
    return address


@pytest.mark.parametrize("backend", ["faiss", "pgvector", "milvus"])
def test_vectors_are_carried_between_databases(backend: str, tmp_path: Path, job: Callable) -> None:
    address = filled(backend, tmp_path / "source")
    report = copy(job(address, source_collection="old", model=None))
    assert (report.documents, report.carried, report.verified) == (60, True, 60)
    with qvec.connect(address) as old, qvec.connect(job("x").target) as new:
        assert (
            new.collection("books").search("topic3 row 8")[0].id == old.collection("old").search("topic3 row 8")[0].id
        )
        assert new.describe("books").passport == old.describe("old").passport
        assert new.collection("books").index([{"id": "r1", "text": ROWS[1]["body"], "n": 1}]).unchanged == 1


def test_a_database_without_analyzers_makes_the_words_anew(tmp_path: Path, job: Callable) -> None:
    address = filled("pgvector", tmp_path / "source", analyzer="english")
    assert copy(job(address, source_collection="old", model=None)).carried
    with qvec.connect(job("x").target) as new:
        assert new.describe("books").analyzer is None
        assert new.collection("books").search("topic3", mode="lexical")


def test_vectors_are_made_anew_for_another_model(tmp_path: Path, job: Callable) -> None:
    address = filled("faiss", tmp_path / "source")
    report = copy(job(address, source_collection="old", model="hashing", dim=64))
    assert (report.carried, report.documents) == (False, 60)
    with qvec.connect(job("x").target) as new:
        assert new.describe("books").dim == 64


def test_a_target_of_another_model_is_refused(tmp_path: Path, job: Callable) -> None:
    qvec.index("books", ["something else"], backend=job("x").target, model="hashing", dim=32)
    with pytest.raises(PassportMismatchError):
        copy(job(json_lines(tmp_path / "rows.jsonl"), dim=64))


def test_a_long_text_is_cut_where_the_model_needs_it(tmp_path: Path, job: Callable) -> None:
    rows = [{"id": "long", "text": "several words of text. " * 40}, {"id": "short", "text": "few words"}]
    short = load_embedder("hashing")
    short.max_tokens = 30
    report = copy(job(json_lines(tmp_path / "rows.jsonl", rows), fields=FieldMap(), model=None, embedder=short))
    assert report.documents == 2
    assert report.records > 3


@pytest.mark.parametrize("policy", ["pool", "truncate", "error"])
def test_a_long_text_is_treated_as_the_target_keeps_it(policy: str, tmp_path: Path, target: str, job: Callable) -> None:
    rows = [{"id": "long", "text": "several words of text. " * 40}, {"id": "short", "text": "few words"}]
    short = load_embedder("hashing")
    short.max_tokens = 30
    qvec.index("books", ["something else"], backend=target, embedder=short, long_text=policy)
    chosen = job(json_lines(tmp_path / "rows.jsonl", rows), fields=FieldMap(), model=None, embedder=short)
    report = copy(chosen)
    if policy == "error":
        assert (report.documents, report.failed, report.long) == (1, 1, 0)
        assert "over the model's window of 30 tokens" in report.errors[0][1]
        return
    assert (report.documents, report.records, report.failed) == (2, 2, 0)
    assert (report.long, report.long_text) == (1, policy)
    qvec.index("indexed", rows, backend=target, embedder=short, long_text=policy)
    adapter = open_adapter(target)
    copied, indexed = (adapter.get_vectors(name, ["long"])["long"] for name in ("books", "indexed"))
    adapter.close()
    assert np.array_equal(copied, indexed)
    assert verify(chosen).is_same


def test_a_dry_run_says_what_would_happen_and_writes_nothing(tmp_path: Path, job: Callable) -> None:
    plan = plan_copy(job(table(tmp_path / "a.db"), table="My Books"))
    assert (plan.rows, plan.is_new) == (60, True)
    assert plan.steps[:3] == [
        "read 60 rows of My Books",
        "make the collection books",
        "embed with hashing, 256 dimensions",
    ]
    assert not (tmp_path / "state.sqlite").exists()
    with qvec.connect(job("x").target) as database:
        assert database.collections() == []


def test_undo_drops_the_collection_that_the_copy_made(tmp_path: Path, job: Callable) -> None:
    chosen = job(json_lines(tmp_path / "rows.jsonl"))
    copy(chosen)
    assert undo_copy(chosen)
    with qvec.connect(chosen.target) as database:
        assert database.collections() == []
    with pytest.raises(MigrationError, match="no journal"):
        undo_copy(chosen)


def test_undo_leaves_a_collection_that_was_there_before(tmp_path: Path, job: Callable) -> None:
    chosen = job(json_lines(tmp_path / "rows.jsonl"))
    qvec.index("books", [{"id": "mine", "text": "was here"}], backend=chosen.target, model="hashing")
    copy(chosen)
    assert not undo_copy(chosen)
    assert "mine" in ids(chosen.target)


def test_what_is_lost_or_changed_behind_the_copy_is_named(tmp_path: Path, job: Callable) -> None:
    chosen = job(json_lines(tmp_path / "rows.jsonl"))
    copy(chosen)
    adapter = open_adapter(chosen.target)
    adapter.delete("books", ["r5"])
    changed = adapter.get("books", ["r6", "r7"])
    vectors = adapter.get_vectors("books", ["r6", "r7"])
    adapter.upsert("books", changed[:1], -vectors["r6"][None])
    other = qvec.Document("r7", "other text", changed[1].metadata, digest=changed[1].digest)
    adapter.upsert("books", [other, qvec.Document("extra", "x")], np.stack([vectors["r7"]] * 2))
    from qvec.migrate.comparing import compare

    with Journal(chosen.journal_path) as journal, pytest.raises(VerificationError) as caught:
        compare(adapter, "books", journal, is_ours=True)
    adapter.close()
    assert caught.value.missing == ["r5"]
    assert caught.value.different == {"r6": "vector", "r7": "text or metadata"}
    assert caught.value.extra == ["extra"]


def test_a_second_copy_with_the_same_journal_is_refused(tmp_path: Path, job: Callable) -> None:
    chosen = job(json_lines(tmp_path / "rows.jsonl"))
    with Journal(chosen.journal_path), pytest.raises(MigrationError, match="in use by another copy"):
        copy(chosen)


CHILD = """
import sys
from qvec.migrate import CopyJob, FieldMap, copy
source, table, target, journal, kill_at = sys.argv[1:]

def progress(state):
    if state.step:
        return
    print(state.read, flush=True)
    if state.read >= int(kill_at):
        sys.stdin.read()

fields = FieldMap(text="text")
more = {"table": table} if table else {}
report = copy(CopyJob(source=source, target=target, collection="books", model="hashing", journal=journal,
                      fields=fields, **more), progress=progress)
print("report", report.documents, report.failed, report.verified)
"""
MANY = 6000


def start(source: str, table: str, target: str, journal: Path, kill_at: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, source, table, target, str(journal), str(kill_at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("servers_end")
@pytest.mark.parametrize("kind", ["file", "table"])
@pytest.mark.parametrize("backend", ["faiss", "pgvector"])
def test_a_copy_killed_twice_is_finished_by_the_third(kind: str, backend: str, tmp_path: Path) -> None:
    target = embedded_uri(backend, tmp_path / "target").reveal()
    rows = [{"id": f"k{number}", "text": f"row {number} is about {number % 11}"} for number in range(MANY)]
    if kind == "file":
        source, name = str(json_lines(tmp_path / "rows.jsonl", rows)), ""
    else:
        with sqlite3.connect(tmp_path / "rows.db") as db:
            db.execute("CREATE TABLE t (id TEXT PRIMARY KEY, text TEXT)")
            db.executemany("INSERT INTO t VALUES (:id, :text)", rows)
        db.close()
        source, name = f"sqlite:///{tmp_path / 'rows.db'}", "t"
    told = []
    for kill_at in (1500, 3000):
        with start(source, name, target, tmp_path / "j.sqlite", kill_at) as child:
            assert child.stdout is not None
            for line in child.stdout:
                told.append(int(line))
                if told[-1] >= kill_at:
                    os.kill(child.pid, signal.SIGKILL)
                    break
    with start(source, name, target, tmp_path / "j.sqlite", 10**9) as child:
        output, _ = child.communicate()
    assert output.splitlines()[-1] == f"report {MANY} 0 256"
    assert int(output.splitlines()[-2]) < MANY  # it went on, not anew
    assert ids(target) == sorted(row["id"] for row in rows)
