"""A dry run tells each statement that changes the database; the server itself says which came."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qvec.migrate import Attached, AttachJob, CopyJob, attach, copy, plan_attach, plan_copy, plan_undo, undo
from qvec.registry import embedded_uri
from tests.migrate.postgres import own_database, psycopg

WATCH = """
CREATE TABLE watched (number int GENERATED ALWAYS AS IDENTITY, statement text);
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN INSERT INTO public.watched (statement) VALUES (current_query()); END $$;
CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();
"""


def arrived(db: psycopg.Connection) -> set[str]:
    """What changed the schema since the last look, with the collection's number as a dry run writes it."""
    found = {plainly(statement) for (statement,) in db.execute("SELECT statement FROM watched")}
    db.execute("DELETE FROM watched")
    return found


def plainly(statement: str) -> str:
    return re.sub(r"qvec_\d+", "qvec_0", " ".join(statement.split()))


@pytest.mark.parametrize(
    "options", [{}, {"in_table": True}, {"triggers": True}, {"version": "text"}], ids=lambda found: "".join(found)
)
def test_every_statement_that_changes_the_schema_is_told_beforehand(server: str, options: dict[str, object]) -> None:
    url = own_database(server, "dry")
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE notes (id int PRIMARY KEY, text text)")
        db.execute("INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 20) n")
        db.execute(WATCH)
        job = AttachJob(url=url, table="notes", collection="n", model="hashing", **options)
        told = {plainly(statement) for statement in plan_attach(job)}
        assert arrived(db) == set()
        attach(job)
        came = arrived(db)
        assert any("CREATE EXTENSION" in statement for statement in came)
        assert came - told == set()
        notes = Attached(url=url, collection="n")
        told = {plainly(statement) for statement in plan_undo(notes)}
        assert arrived(db) == set()
        undo(notes)
        assert arrived(db) - told == set()


def test_a_copy_tells_how_its_collection_is_made(server: str, tmp_path: Path) -> None:
    url = own_database(server, "dry")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": 1, "text": "some words"}\n')
    job = CopyJob(source=str(rows), target=url, collection="n", model="hashing", journal=tmp_path / "journal")
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(WATCH)
        told = {plainly(statement) for statement in plan_copy(job).steps}
        assert arrived(db) == set()
        copy(job)
        made = {statement for statement in arrived(db) if "USING gin" not in statement}
        assert any("CREATE EXTENSION" in statement for statement in made)
        assert made - told == set()


def test_a_copy_to_milvus_tells_its_requests(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": 1, "text": "some words"}\n')
    target = embedded_uri("milvus", tmp_path / "db").reveal()
    job = CopyJob(source=str(rows), target=target, collection="n", model="hashing", journal=tmp_path / "journal")
    told = plan_copy(job).steps
    for request in ("create_collection n [{", "create_index n [{", "load_collection n"):
        assert any(step.startswith(request) for step in told)
