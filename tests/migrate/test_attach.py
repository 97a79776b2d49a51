"""A PostgreSQL table made searchable where it stands, whatever its key and names, and left as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import qvec
from qvec.errors import CollectionNotFoundError, InvalidInputError, PassportMismatchError
from qvec.migrate import AttachJob, CopyProgress, FieldMap, MigrationError, attach, detach, plan_attach
from qvec.pgvector_limits import INDEX_FROM
from qvec.registry import load_embedder
from qvec.types import IndexSpec
from tests.migrate.postgres import psycopg

KEYS = {
    "integer": ("id int PRIMARY KEY", "i"),
    "uuid": ("id uuid PRIMARY KEY", "md5(i::text)::uuid"),
    "text": ("id text PRIMARY KEY", "'k''\"/%' || i"),
    "timestamp": ("id timestamptz PRIMARY KEY", "timestamptz '2024-01-01' + i * interval '1 hour'"),
}
MAP = FieldMap(text="{heading}\n{body}")


@pytest.fixture
def db(server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute('DROP SCHEMA IF EXISTS "My Shop" CASCADE; CREATE SCHEMA "My Shop"')
        yield connection
        for (name,) in everything(connection, "SELECT name FROM qvec_collections"):
            detach(server, name)
        connection.execute('DROP SCHEMA "My Shop" CASCADE')


def everything(db: psycopg.Connection, statement: str) -> list[tuple]:
    (is_there,) = db.execute("SELECT to_regclass('qvec_collections') IS NOT NULL").fetchone()
    return db.execute(statement).fetchall() if is_there else []


def make(db: psycopg.Connection, key: str = "id int PRIMARY KEY", value: str = "i", rows: int = 600) -> None:
    columns = f'{key}, heading text, body text, "Price: %s" numeric, lang text'
    db.execute(f'CREATE TABLE "My Shop"."Ar""ticles %" ({columns})')
    db.execute(
        f'INSERT INTO "My Shop"."Ar""ticles %" SELECT {value}, \'Article \' || i, '
        "'text about topic' || i % 7 || ' and word' || i, i * 1.5, CASE WHEN i % 2 = 0 THEN 'en' ELSE 'zh' END "
        f"FROM generate_series(1, {rows}) i"
    )


def job(server: str, **more: object) -> AttachJob:
    settings = {"schema": "My Shop", "fields": MAP, "model": "hashing", **more}
    return AttachJob(url=server, table='Ar"ticles %', collection="shop", **settings)


def tables(db: psycopg.Connection) -> list[tuple]:
    """All that a user made, to be compared before and after."""
    return [
        db.execute(
            "SELECT n.nspname, c.relname, c.relkind, array_agg(a.attname || format_type(a.atttypid, a.atttypmod) "
            "ORDER BY a.attnum) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "WHERE n.nspname IN ('public', 'My Shop') GROUP BY 1, 2, 3 ORDER BY 1, 2"
        ).fetchall(),
        db.execute('SELECT t::text FROM "My Shop"."Ar""ticles %" t ORDER BY 1').fetchall(),
        db.execute("SELECT extname FROM pg_extension ORDER BY 1").fetchall(),
    ]


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
@pytest.mark.parametrize("kind", KEYS)
def test_rows_are_found_with_their_columns_and_filters(
    kind: str, in_table: bool, server: str, db: psycopg.Connection
) -> None:
    make(db, *KEYS[kind], rows=300)
    before = tables(db)
    report = attach(job(server, in_table=in_table))
    assert (report.embedded, report.failed) == (300, 0)
    (key,) = db.execute('SELECT id::text FROM "My Shop"."Ar""ticles %" WHERE heading = \'Article 77\'').fetchone()
    with qvec.connect(server) as database:
        shop = database.collection("shop")
        for mode in ("dense", "lexical", "hybrid"):
            hit = shop.search("word77", k=3, mode=mode)[0]
            assert hit.id == key
            assert hit.text == "Article 77\ntext about topic0 and word77"
            assert hit.metadata == {"Price: %s": 115.5, "lang": "zh"} | {
                name: hit.metadata[name] for name in hit.metadata if name in ("heading", "body")
            }
        found = shop.search("topic3", k=50, where="lang = 'en'")
        assert found
        assert {hit.metadata["lang"] for hit in found} == {"en"}
        assert (shop.count(), shop.count("lang = 'en'")) == (300, 150)
        assert [document.id for document in shop.get(key)] == [key]
        assert len([d for batch in database.adapter.scan("shop") for d in batch.documents]) == 300
    detach(server, "shop")
    assert tables(db) == before


def test_scores_are_those_of_an_ordinary_collection(server: str, db: psycopg.Connection) -> None:
    make(db, rows=200)
    db.execute('UPDATE "My Shop"."Ar""ticles %" SET body = repeat(\'word5 it\'\'s \\ \', 90) WHERE id = 5')
    attach(job(server, fields=FieldMap(text="body", metadata=())))
    rows = db.execute('SELECT id::text, body FROM "My Shop"."Ar""ticles %"').fetchall()
    with qvec.connect(server, model="hashing") as database:
        database.collection("plain").index([{"id": key, "text": body} for key, body in rows])
        for mode in ("dense", "lexical"):
            for query in ("word5 it's", "topic3 word9"):
                one = database.collection("shop").search(query, mode=mode)
                other = database.collection("plain").search(query, mode=mode)
                assert [(hit.id, pytest.approx(hit.score)) for hit in one] == [(hit.id, hit.score) for hit in other]
        database.drop("plain")


def test_a_composite_key_of_several_types(server: str, db: psycopg.Connection) -> None:
    make(db, 'a text COLLATE "C", b int, PRIMARY KEY (b, a)', "'x/' || i % 5, i", rows=520)
    assert attach(job(server)).embedded == 520
    with qvec.connect(server) as database:
        assert database.collection("shop").search("word33", k=1)[0].id == "33/x%2F3"


def test_the_index_is_built_and_used_through_the_view(server: str, db: psycopg.Connection) -> None:
    make(db, rows=3000)
    attach(job(server, index=IndexSpec("hnsw")))
    (number,) = db.execute("SELECT number FROM qvec_collections WHERE name = 'shop'").fetchone()
    db.execute("SET enable_seqscan = off; SET hnsw.iterative_scan = strict_order")
    plan = db.execute(
        f"EXPLAIN SELECT id, body, metadata FROM qvec_{number} WHERE NOT zero "
        f"ORDER BY embedding <=> (SELECT embedding FROM qvec_{number}_rows LIMIT 1), id LIMIT 10"
    ).fetchall()
    assert f"Index Scan using qvec_{number}_hnsw" in "\n".join(line for (line,) in plan)
    text = "Article 2999\ntext about topic3 and word2999"
    with qvec.connect(server) as database:
        assert database.collection("shop").search(text, mode="dense", k=1)[0].score == pytest.approx(1)


def test_an_automatic_index_is_built_from_as_many_rows_on_as_in_every_collection(
    server: str, db: psycopg.Connection
) -> None:
    make(db, rows=INDEX_FROM - 1)
    attach(job(server, dim=16))
    there = "SELECT count(*) FROM pg_class WHERE relname LIKE 'qvec%hnsw'"
    assert db.execute(there).fetchone() == (0,)
    db.execute('INSERT INTO "My Shop"."Ar""ticles %" (id, body) VALUES (0, \'one more\')')
    attach(job(server, dim=16))
    assert db.execute(there).fetchone() == (1,)


@pytest.mark.parametrize("in_table", [False, True], ids=["companion", "in_table"])
def test_metadata_is_the_tables_own_and_a_second_run_embeds_what_changed(
    in_table: bool, server: str, db: psycopg.Connection
) -> None:
    make(db)
    attach(job(server, in_table=in_table))
    db.execute('UPDATE "My Shop"."Ar""ticles %" SET lang = \'fr\' WHERE id = 7')
    with qvec.connect(server) as database:
        assert [hit.id for hit in database.collection("shop").search("topic", where="lang = 'fr'", mode="dense")] == [
            "7"
        ]
    db.execute('DELETE FROM "My Shop"."Ar""ticles %" WHERE id = 8')
    db.execute('UPDATE "My Shop"."Ar""ticles %" SET body = \'quite different\' WHERE id = 9')
    db.execute('UPDATE "My Shop"."Ar""ticles %" SET heading = NULL, body = NULL WHERE id = 10')
    db.execute('INSERT INTO "My Shop"."Ar""ticles %" (id, body) VALUES (-3, \'brand new\')')
    report = attach(job(server, in_table=in_table))
    assert (report.embedded, report.unchanged, report.failed) == (2, 597, 1)
    assert report.errors == [("10", "its text is empty or white space only")]
    with qvec.connect(server) as database:
        shop = database.collection("shop")
        assert shop.search("quite different", k=1)[0].id == "9"
        assert shop.search("brand new", k=1, mode="lexical")[0].id == "-3"
        assert shop.get(["8", "10"]) == []


def test_rows_written_during_the_backfill_are_not_held_up(server: str, db: psycopg.Connection) -> None:
    make(db)
    db.execute("SET lock_timeout = '5s'")
    written = []

    def edit(_: object) -> None:
        written.append(db.execute('UPDATE "My Shop"."Ar""ticles %" SET lang = lang WHERE id < 100').rowcount)

    attach(job(server, in_table=True), progress=edit)
    assert (len(written) > 3, set(written)) == (True, {99})


def test_a_run_that_was_broken_off_goes_on(server: str, db: psycopg.Connection) -> None:
    make(db)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attach(job(server), progress=stop)
    told: list[CopyProgress] = []
    report = attach(job(server), progress=told.append)
    assert (report.embedded, report.unchanged) == (600 - 256, 0)
    assert told == [CopyProgress(256, 344), CopyProgress(344, 344), CopyProgress(0, None, told[-1].step)]
    assert told[-1].step.startswith("builds the index qvec_")


def test_a_long_row_is_searched_by_its_parts(server: str, db: psycopg.Connection) -> None:
    make(db, rows=3)
    db.execute('UPDATE "My Shop"."Ar""ticles %" SET body = repeat(\'some words. \', 50) || \'needle\' WHERE id = 2')
    short = load_embedder("hashing")
    short.max_tokens = 40
    attach(job(server, fields=FieldMap(text="body"), model=None, embedder=short))
    with qvec.connect(server) as database:
        hit = database.collection("shop", embedder=short).search("needle", k=1)[0]
    assert hit.id.startswith("2#part")
    assert hit.document.source == "2"
    assert hit.text.endswith("needle")


def test_a_table_without_a_key_is_refused_unless_unique_columns_are_named(server: str, db: psycopg.Connection) -> None:
    make(db, "id int")
    with pytest.raises(MigrationError, match="no primary key"):
        attach(job(server))
    with pytest.raises(MigrationError, match="id has no unique index"):
        attach(job(server, fields=FieldMap(("id",), "body")))
    db.execute('ALTER TABLE "My Shop"."Ar""ticles %" ALTER id SET NOT NULL, ADD UNIQUE (id)')
    assert attach(job(server, fields=FieldMap(("id",), "body"))).embedded == 600


def test_what_is_not_there_is_named(server: str, db: psycopg.Connection) -> None:
    make(db, rows=1)
    with pytest.raises(InvalidInputError, match="no column 'Body'"):
        attach(job(server, fields=FieldMap(text="Body")))
    with pytest.raises(InvalidInputError, match=r'there is no table "My Shop"."nothing"'):
        attach(AttachJob(url=server, schema="My Shop", table="nothing", collection="shop"))
    with pytest.raises(CollectionNotFoundError):
        detach(server, "shop")


def test_another_model_is_refused(server: str, db: psycopg.Connection) -> None:
    make(db, rows=5)
    attach(job(server))
    with pytest.raises(PassportMismatchError):
        attach(job(server, dim=64))


def test_a_second_attach_at_the_same_time_is_refused(server: str, db: psycopg.Connection) -> None:
    make(db)
    refused: list[Exception] = []

    def again() -> None:
        try:
            attach(job(server))
        except MigrationError as exc:
            refused.append(exc)

    def meanwhile(_: object) -> None:
        other = threading.Thread(target=again)
        other.start()
        other.join()

    attach(job(server), progress=meanwhile)
    assert len(refused) == 4


def test_a_dry_run_gives_the_statements_and_changes_nothing(server: str, db: psycopg.Connection) -> None:
    make(db, rows=3)
    before = tables(db)
    statements = plan_attach(job(server))
    made = 'CREATE TABLE "qvec_0_rows" AS SELECT "id" AS key_1 FROM "My Shop"."Ar""ticles %"'
    assert any(statement.startswith(made) for statement in statements)
    assert any(statement.startswith("CREATE INDEX CONCURRENTLY") for statement in statements)
    assert tables(db) == before
