"""What a plan says, and that its bytes are those that PostgreSQL takes."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from qvec.errors import InvalidInputError
from qvec.migrate import AttachJob, FieldMap, plan, plan_attach
from qvec.migrate.storage import hnsw_bytes
from tests.migrate.postgres import psycopg


def rows_file(path: Path, count: int) -> Path:
    rows = [{"id": number, "text": "one two three four"} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": "bad"}]), encoding="utf-8")
    return path


def test_a_file_is_counted_and_its_tokens_are_worked_out(tmp_path: Path) -> None:
    found = plan(str(rows_file(tmp_path / "a.jsonl", 300)), model="hashing", sample=50, price_per_hour=2.0)
    assert (found.rows, found.bad, found.sampled) == (301, 1, 50)
    assert found.tokens == 300 * 4
    assert found.characters == (18.0, 18)
    assert found.hours == pytest.approx(found.tokens / found.tokens_per_second / 3600)
    assert found.cost == pytest.approx(2 * found.hours)
    assert [(item.dim, item.float32, item.halfvec) for item in found.storage][-1] == (256, 301 * 1024, 301 * 512)


def test_a_table_is_described(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        db.execute("CREATE INDEX by_text ON t (text)")
        db.executemany("INSERT INTO t (text) VALUES (?)", [("some words",)] * 20)
    db.close()
    found = plan(f"sqlite:///{tmp_path / 'a.db'}", table="t", model="hashing")
    assert found.rows == 20
    assert found.facts["key"] == ["id"]
    assert found.facts["indexes"] == {"by_text": ["text"]}


def test_what_will_not_fit_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": 1, "text": "long " * 20_000}) + "\n", encoding="utf-8")
    found = plan(str(path), model="hashing", dim=4097)
    assert found.warnings == [
        "pgvector (HNSW on vector) takes 2,000 dims, not 4,097",
        "pgvector (HNSW on halfvec) takes 4,000 dims, not 4,097",
        "Elasticsearch takes 4,096 dims, not 4,097",
        "100.0% of the texts are over Milvus's 65,535 bytes and will be cut there",
    ]
    assert found.storage[-1].halfvec_index is None


def test_a_source_with_nothing_to_embed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="1 were read, 1 of them bad"):
        plan(str(rows_file(tmp_path / "a.jsonl", 0)), model="hashing")


def test_permissions_are_read(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as db:
        db.execute("CREATE TABLE perms (id int PRIMARY KEY, text text); INSERT INTO perms VALUES (1, 'words')")
    found = plan(server, table="perms", model="hashing")
    assert found.facts["permissions"] == {
        "SELECT": True,
        "TRIGGER": True,
        "CREATE TABLE": True,
        "ALTER TABLE": True,
    }
    assert str(found.facts["database"]).startswith("postgresql ")
    assert str(found.facts["extensions"]["vector"]).startswith("0.")
    assert [line.split(":")[0] for line in found.locks] == ["without options", "triggers", "in_table", "indexes"]
    assert found.device == "cpu"


@pytest.mark.parametrize(
    ("dim", "kind", "width"),
    [(64, "vector", 4), (384, "vector", 4), (1024, "vector", 4), (1024, "halfvec", 2), (1024, "bit", 1)],
)
def test_the_index_is_as_large_as_planned(server: str, dim: int, kind: str, width: int) -> None:
    rows = 1500
    vectors = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
    with psycopg.connect(server, autocommit=True) as db:
        db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        db.execute(f"DROP TABLE IF EXISTS sized; CREATE TABLE sized (v {kind}({dim}))")
        with db.cursor().copy("COPY sized FROM STDIN") as copy:
            for vector in vectors:
                bits = "".join(map(str, (vector > 0).astype(int)))
                copy.write_row([bits if kind == "bit" else str(vector.tolist())])
        db.execute(f"CREATE INDEX ON sized USING hnsw (v {kind}_{'hamming' if kind == 'bit' else 'l2'}_ops)")
        (found,) = db.execute("SELECT pg_relation_size('sized_v_idx')").fetchone()
    assert hnsw_bytes(rows, dim // 8 if kind == "bit" else dim, width) == pytest.approx(found, rel=0.1)


def test_a_named_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
    db.close()
    with pytest.raises(InvalidInputError, match="no column 'nothing'"):
        plan(f"sqlite:///{tmp_path / 'a.db'}", table="t", model="hashing", fields=FieldMap(text="nothing"))


def test_the_locks_are_those_that_are_told(server: str) -> None:
    taken: dict[str, set[str]] = {}
    for options in ({}, {"triggers": True}, {"in_table": True}):
        with psycopg.connect(server, autocommit=True) as db, psycopg.connect(server) as reader:
            db.execute("DROP TABLE IF EXISTS locked; CREATE TABLE locked (id int PRIMARY KEY, text text)")
            db.execute("INSERT INTO locked VALUES (1, 'words')")
            statements = plan_attach(AttachJob(url=server, table="locked", collection="l", model="hashing", **options))
            setup = [
                line
                for line in statements
                if line.startswith(("ALTER TABLE", "CREATE EXT", "CREATE TRIGGER", "CREATE TABLE", "CREATE FUNC"))
            ]
            for statement in setup:
                reader.execute(statement)
            modes = reader.execute("SELECT mode FROM pg_locks WHERE relation = 'locked'::regclass").fetchall()
            taken[" ".join(options)] = {mode for (mode,) in modes}
            reader.rollback()
    assert taken[""] == {"AccessShareLock"}
    assert taken["triggers"] == {"AccessShareLock", "ShareRowExclusiveLock"}
    assert "AccessExclusiveLock" in taken["in_table"]
