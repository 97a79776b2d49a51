"""``qvec migrate`` on the command line."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import qvec
from qvec.cli.app import cli
from qvec.cli.migrate_progress import Progress
from qvec.migrate import CopyProgress
from tests.migrate.collections import make
from tests.migrate.postgres import psycopg


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    for key in [key for key in os.environ if key.startswith("QVEC_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("QVEC_MODEL", "hashing")
    rows = [{"id": number, "title": f"T{number}", "body": f"row about {number}"} for number in range(5)]
    lines = [json.dumps(row) for row in rows]
    Path("rows.jsonl").write_text("\n".join([*lines, "nonsense"]) + "\n", encoding="utf-8")

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["migrate", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def client(run: Callable[..., Result]) -> Iterator[Any]:
    """Another program's connection to Milvus Lite under ``./.qvec``."""
    pytest.importorskip("pymilvus")
    with qvec.connect("milvus:.qvec/milvus.db") as database:
        yield database.adapter._connection.client


COPY = ("copy", "rows.jsonl", "--collection", "books", "--text", "{title}\\n{body}")


def test_copy_and_undo(run: Callable[..., Result]) -> None:
    found = run(*COPY, "--errors", "bad.jsonl")
    assert found.exit_code == 0
    assert found.stdout.startswith("books: 5 rows in 5 records, vectors made; 1 bad rows; 5 compared")
    assert "failed: rows.jsonl:6: not JSON" in found.stderr
    assert json.loads(Path("bad.jsonl").read_text())["place"] == "rows.jsonl:6"
    assert run(*COPY, "--undo").stdout == "dropped books\n"


def test_verify_fails_when_something_differs(run: Callable[..., Result]) -> None:
    verify = ("verify", *COPY[1:])
    run(*COPY)
    found = run(*verify)
    assert (found.exit_code, found.stdout[-15:]) == (0, ": all the same\n")
    with Path("rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "late", "title": "T", "body": "row"}) + "\n")
    found = run(*verify)
    assert found.exit_code == 1
    assert found.stdout.startswith("missing: late: rows.jsonl:7 is not in books\n")
    assert '"is_same": false' in run(*verify, "--json").stdout
    assert run("undo", *COPY[1:], "--dry-run").stdout.startswith("drop the collection books\ndelete ")
    undone = run("undo", *COPY[1:]).stdout
    assert (undone[:26], undone[-14:]) == ("drop the collection books\n", "books: undone\n")
    assert run("undo", *COPY[1:]).exit_code == 1


def test_a_dry_run_copies_nothing(run: Callable[..., Result]) -> None:
    assert "embed with hashing, 256 dimensions\n" in run(*COPY, "--dry-run").stdout
    assert not Path(".qvec/migrate").exists()
    assert json.loads(run(*COPY, "--dry-run", "--json").stdout)["is_new"] is True


def test_stopping_at_a_bad_row_is_a_failure(run: Callable[..., Result]) -> None:
    found = run(*COPY, "--stop-on-error")
    assert (found.exit_code, found.stderr[:21]) == (1, "qvec: rows.jsonl:6: n")


def test_plan(run: Callable[..., Result]) -> None:
    found = run("plan", "rows.jsonl", "--text", "body", "--price-per-hour", "2")
    assert found.stdout.startswith("rows.jsonl: 6 rows, 1 of them bad; 5 sampled\n")
    assert "at the price given" in found.stdout
    assert json.loads(run("plan", "rows.jsonl", "--text", "body", "--json").stdout)["rows"] == 6


def test_attach_and_detach(run: Callable[..., Result], server: str) -> None:
    with psycopg.connect(server, autocommit=True) as db:
        db.execute("CREATE TABLE notes (id int PRIMARY KEY, text text); INSERT INTO notes VALUES (1, 'some words')")
    arguments = ("attach", server, "notes", "--collection", "notes")
    assert "CREATE INDEX CONCURRENTLY" in run(*arguments, "--dry-run").stdout
    assert run(*arguments, "--triggers").stdout.startswith("notes: 1 rows embedded")
    with psycopg.connect(server, autocommit=True) as db:
        db.execute("INSERT INTO notes VALUES (2, 'other words')")
    assert run("sync", server, "notes").stdout.startswith("notes: 1 embedded, 0 unchanged, 0 deleted, 0 failed; 0 wai")
    assert run("verify", server, "--collection", "notes").stdout.endswith("2 vectors compared: all the same\n")
    assert "DROP VIEW" in run("undo", server, "--collection", "notes", "--dry-run").stdout
    assert "DROP VIEW IF EXISTS" in run("detach", server, "notes", "--dry-run").stdout
    assert run("detach", server, "notes").stdout == "detached notes\n"
    assert run("detach", server, "notes").exit_code == 1


def test_a_collection_of_another_program_is_attached_by_its_own_name(run: Callable[..., Result], client: Any) -> None:
    make(client, "articles", rows=30)
    planned = run("plan", "milvus:.qvec/milvus.db", "--from-collection", "articles", "--text", "body").stdout
    assert planned.startswith("articles: 30 rows, 0 of them bad; 30 sampled\n  database: Milvus Lite ")
    assert "lock: exchange: the name is without a collection for a request's time" in planned
    attach = ("attach", "milvus:.qvec/milvus.db", "articles", "--text", "body", "--dim", "64")
    assert run(*attach, "--dry-run").stdout.startswith("make the Milvus collection articles_qvec with the fields")
    assert run(*attach, "--triggers").exit_code == 2
    found = run(*attach, "--json")
    assert json.loads(found.stdout)["embedded"] == 30
    event = json.loads(found.stderr.splitlines()[0])
    assert (event["event"], event["read"], event["total"]) == ("progress", 30, 30)
    verified = run("verify", "milvus:.qvec/milvus.db", "--collection", "articles")
    assert verified.stdout.endswith("30 records and 30 vectors compared: all the same\n")
    assert (verified.exit_code, verified.stderr) == (0, "")
    asked = ["article 7 about topic0", "--backend", "milvus", "--collection", "articles", "--where", "lang = 'en'"]
    hits = json.loads(CliRunner().invoke(cli, ["search", *asked, "--json"]).stdout)["hits"]
    assert (hits[0]["id"], hits[0]["metadata"]["free"]) == ("7", "note 7")
    detach = ("detach", "milvus:.qvec/milvus.db", "articles")
    assert run(*detach, "--dry-run").stdout.endswith("drop the Milvus collection articles_qvec\n")
    assert run(*detach).stdout == "detached articles\n"
    assert client.describe_collection("articles")["collection_name"] == "articles"


@pytest.mark.parametrize("as_json", [False, True])
def test_progress_is_told_with_rate_and_time_left(as_json: bool) -> None:
    now = iter([0.0, 20.0, 20.1, 40.0])
    told = io.StringIO()
    progress = Progress(told, lambda: next(now), as_json=as_json)
    for read in (100, 150, 400):
        progress(CopyProgress(read, 500))
    first, second = told.getvalue().splitlines()
    if as_json:
        event = {
            "event": "progress",
            "step": "",
            "read": 400,
            "total": 500,
            "rows_per_second": 10.0,
            "seconds_left": 10.0,
        }
        assert (json.loads(first)["seconds_left"], json.loads(second)) == (80.0, event)
    else:
        assert (first, second) == ("100 of 500 rows  5/s  80 s left", "400 of 500 rows  10/s  10 s left")


def test_the_time_left_is_that_of_the_pass_under_way() -> None:
    now = iter([0.0, 100.0, 200.0, 300.0, 301.0])
    told = io.StringIO()
    progress = Progress(told, lambda: next(now))
    for state in (
        CopyProgress(10, 1000),
        CopyProgress(1000, 1000),
        CopyProgress(500, 900_000, "compared"),
        CopyProgress(0, None, "builds the index i"),
    ):
        progress(state)
    assert told.getvalue().splitlines() == [
        "10 of 1,000 rows  0/s  2.8 h left",
        "1,000 of 1,000 rows  5/s  0 s left",
        "500 of 900,000 rows compared  5/s  50.0 h left",
        "builds the index i",
    ]


def test_swap_and_its_way_back(run: Callable[..., Result], tmp_path: Path) -> None:
    run(*COPY)
    address = f"faiss:{tmp_path / '.qvec' / 'faiss'}"
    swap = ("swap", address, "books", "--dim", "64")
    assert "UPDATE collections SET name" not in run(*swap, "--dry-run").stdout
    assert run(*swap, "--no-switch").stdout.startswith("books: 5 records with hashing, 256 dimensions; 5 brought over")
    assert "UPDATE collections SET name" in run(*swap, "--dry-run").stdout
    assert run(*swap).stdout.startswith("books: 5 records with hashing, 64 dimensions; 0 brought over, recall 100.0%")
    assert json.loads(run(*swap, "--rollback", "--json").stdout)["dim"] == 256
    assert run(*swap, "--end", "--dry-run").stdout.startswith("drop the collection books_swap\n")
    assert run(*swap, "--end").stdout == "books: dropped the other vectors\n"
    assert run(*swap, "--rollback").exit_code == 1
