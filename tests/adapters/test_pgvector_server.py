"""pgvector: what is special to PostgreSQL, and bad days."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg import sql
from qvec_pgvector import errors, lexical, schema, search
from qvec_pgvector.connections import VectorParameter
from qvec_pgvector.load import query_vector

from qvec.adapter import Adapter
from qvec.errors import (
    BackendConnectionError,
    BackendError,
    CollectionExistsError,
    ConfigError,
    InvalidInputError,
    UnsupportedError,
)
from qvec.memory import MemoryAdapter
from qvec.registry import embedded_uri, open_adapter
from qvec.types import CollectionSpec, Document, IndexSpec, Metric
from qvec.uri import URI
from qvec.where import parse
from tests.adapters.servers import PASSWORD, free_port, listening_server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pg")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Iterator[Adapter]:
    opened = open_adapter(embedded_uri("pgvector", folder))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    return listening_server(tmp_path_factory.mktemp("server"))


def fill(adapter: Adapter, name: str, count: int, dim: int, *, kind: str = "hnsw") -> np.ndarray:
    adapter.drop_collection(name, missing_ok=True)
    adapter.create_collection(CollectionSpec(name, dim, index=IndexSpec(kind, m=8, ef_construction=32)))
    vectors = np.random.default_rng(7).normal(size=(count, dim)).astype(np.float32)
    documents = [Document(f"d{n:05}", f"text of number {n}", {"n": n, "rare": n % 100 == 0}) for n in range(count)]
    adapter.upsert(name, documents, vectors)
    adapter.refresh(name)
    return vectors


def explain(adapter: Adapter, statement: object, parameters: list[object], *, forced: bool) -> str:
    with adapter._connections.use() as connection, connection.raw.transaction():
        if forced:
            connection.raw.execute("SET LOCAL enable_seqscan = off")
        text = sql.SQL("EXPLAIN ") + (sql.SQL(statement) if isinstance(statement, str) else statement)
        return "\n".join(row[0] for row in connection.raw.execute(text, parameters))


@pytest.mark.parametrize("dim", [1024, 2560])
def test_a_dense_search_uses_the_hnsw_index_at_every_width(adapter: Adapter, dim: int) -> None:
    vectors = fill(adapter, "wide", 600, dim)
    with adapter._connections.use() as connection:
        entry = schema.need(connection, "wide", "")
    assert entry.kind == ("vector" if dim <= 2000 else "halfvec")
    statement, parameters = search._statement(entry, None, VectorParameter(query_vector(vectors[0])), 10)
    assert f"qvec_{entry.number}_hnsw" in explain(adapter, statement, parameters, forced=True)
    assert adapter.search_dense("wide", vectors[5:6], k=1)[0][0].id == "d00005"


def test_a_keyword_search_uses_the_gin_index(adapter: Adapter) -> None:
    fill(adapter, "words", 3000, 8, kind="flat")
    with adapter._connections.use() as connection:
        entry = schema.need(connection, "words", "")
    statement, parameters = lexical.bm25(entry, ["2999"], k=10, offset=0, filter=None)
    assert f"qvec_{entry.number}_tokens" in explain(adapter, statement, parameters, forced=False)


@pytest.mark.parametrize("others", [0, 3, 140])
def test_keyword_scores_are_exact_for_any_frequency(adapter: Adapter, others: int) -> None:
    frequencies = [1, 2, 3, 17, 62, 63, 64, 65, 66, 128, 300, 5000]
    documents = [Document(f"d{count:05}", "needle " * count + "hay " * (count % 7)) for count in frequencies]
    query = " ".join(["needle", "hay", *(f"other{number}" for number in range(others))])
    answers = []
    for each in (adapter, MemoryAdapter()):
        each.create_collection(CollectionSpec(f"often{others}", 2))
        each.upsert(f"often{others}", documents, np.ones((len(documents), 2), np.float32))
        answers.append(each.search_lexical(f"often{others}", [query], k=20)[0])
    assert [hit.id for hit in answers[0]] == [hit.id for hit in answers[1]]
    assert [hit.score for hit in answers[0]] == pytest.approx([hit.score for hit in answers[1]], rel=1e-9)


def test_leaving_documents_of_common_words_unread_loses_no_hit(adapter: Adapter) -> None:
    random = np.random.default_rng(11)
    documents = []
    for number in range(2000):
        words = [f"w{rank}" for rank in np.minimum(random.zipf(1.3, size=random.integers(1, 60)), 5000)]
        documents.append(Document(f"d{number:04}", " ".join(words), {"half": bool(number % 2), "rare": number < 12}))
    queries = [" ".join(f"w{rank}" for rank in np.minimum(random.zipf(1.2, size=size), 5000)) for size in [2, 5, 9] * 6]
    reference = MemoryAdapter()
    for each in (adapter, reference):
        each.create_collection(CollectionSpec("zipf", 2))
        each.upsert("zipf", documents, np.ones((len(documents), 2), np.float32))
        each.refresh("zipf")
    for condition in (None, parse("half = true"), parse("rare = true")):
        for k, offset in ((1, 0), (10, 0), (10, 25), (300, 0)):
            found = adapter.search_lexical("zipf", queries, k=k, offset=offset, filter=condition)
            wanted = reference.search_lexical("zipf", queries, k=k, offset=offset, filter=condition)
            scores = [[round(hit.score, 9) for hit in hits] for hits in wanted]
            assert [[round(hit.score, 9) for hit in hits] for hits in found] == scores
            assert [[hit.id for hit in hits] for hits in found] == [[hit.id for hit in hits] for hits in wanted]


def test_a_filter_that_leaves_one_in_a_hundred_gives_k_hits_through_the_index(adapter: Adapter) -> None:
    vectors = fill(adapter, "starved", 3000, 16)
    with adapter._connections.use() as connection:
        connection.raw.execute("SET enable_seqscan = off")
    try:
        hits = adapter.search_dense("starved", vectors[:3], k=25, filter=parse("rare = true"), ef=40)
    finally:
        with adapter._connections.use() as connection:
            connection.raw.execute("RESET enable_seqscan")
    exact = np.argsort(-(vectors[::100] @ vectors[0]) / np.linalg.norm(vectors[::100], axis=1))[:25]
    assert [len(found) for found in hits] == [25, 25, 25]
    assert {hit.id for hit in hits[0]} == {f"d{100 * n:05}" for n in exact}


def test_zero_vectors_score_zero_beside_an_hnsw_index(adapter: Adapter) -> None:
    vectors = fill(adapter, "zeros", 500, 8)
    adapter.upsert("zeros", [Document("zero", "nothing")], np.zeros((1, 8), np.float32))
    ranked = adapter.search_dense("zeros", vectors[:1], k=501)[0]
    assert len(ranked) == 501
    assert {hit.id: hit.score for hit in ranked}["zero"] == 0.0
    assert [hit.score for hit in ranked] == sorted((hit.score for hit in ranked), reverse=True)


def test_a_dim_that_no_index_takes_is_refused_with_advice(adapter: Adapter) -> None:
    with pytest.raises(UnsupportedError, match=r"4000 dims, not 4096.*dim="):
        adapter.create_collection(CollectionSpec("much", 4096))


def test_a_number_that_halfvec_cannot_hold_is_refused(adapter: Adapter) -> None:
    adapter.create_collection(CollectionSpec("half", 2048, metric=Metric.DOT), exist_ok=True)
    with pytest.raises(InvalidInputError, match="halfvec"):
        adapter.upsert("half", [Document("x", "x")], np.full((1, 2048), 1e6, np.float32))
    assert adapter.count("half") == 0


def test_a_users_own_tables_are_neither_listed_nor_taken(adapter: Adapter) -> None:
    with adapter._connections.use() as connection:
        connection.raw.execute("CREATE TABLE IF NOT EXISTS customers (id int)")
    assert "customers" not in adapter.list_collections()
    adapter.create_collection(CollectionSpec("customers", 4))
    adapter.drop_collection("customers")
    with adapter._connections.use() as connection:
        assert connection.raw.execute("SELECT to_regclass('customers') IS NOT NULL").fetchone() == (True,)


def test_statistics_follow_updates_and_deletes(adapter: Adapter) -> None:
    fill(adapter, "stats", 10, 4, kind="flat")
    adapter.upsert("stats", [Document("d00000", "one two three four five six")], np.ones((1, 4), np.float32))
    adapter.delete("stats", ["d00001", "nowhere"])
    with adapter._connections.use() as connection:
        number = schema.need(connection, "stats", "").number
        counted = connection.raw.execute(f"SELECT count(*), sum(token_count) FROM qvec_{number}").fetchone()
        kept = connection.raw.execute("SELECT documents, tokens FROM qvec_collections WHERE number = %s", [number])
        assert kept.fetchone() == counted


def test_a_server_that_is_down_is_a_connection_error() -> None:
    with pytest.raises(BackendConnectionError, match="check that the server runs"):
        open_adapter(f"postgresql://someone:pw@127.0.0.1:{free_port()}/db")


def test_a_wrong_password_is_a_connection_error_that_does_not_tell_it(server: str) -> None:
    wrong = server.replace("s3cr3t-p%C3%A4ss%2Fword", "tru5tn01")
    with pytest.raises(BackendConnectionError) as caught:
        open_adapter(wrong)
    told = f"{caught.value} {caught.value.__cause__} {URI.parse(wrong)!r}"
    assert "tru5tn01" not in told
    assert PASSWORD not in told
    assert "tester" in told


def test_an_option_that_libpq_does_not_know_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        open_adapter("postgresql://localhost/db?nonsense=1")


def test_a_connection_that_was_cut_is_an_error_once_and_works_again(server: str) -> None:
    adapter = open_adapter(server)
    adapter.create_collection(CollectionSpec("cut", 2), exist_ok=True)
    with adapter._connections.use() as connection:
        row = connection.raw.execute("SELECT pg_backend_pid()").fetchone()
    with psycopg.connect(server, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 60000)", row)
    with pytest.raises(BackendConnectionError):
        adapter.count("cut")
    assert adapter.count("cut") == 0
    adapter.close()


def test_a_role_that_may_not_create_the_extension_is_told_so(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS bare")
        admin.execute("CREATE DATABASE bare")
        admin.execute("DROP ROLE IF EXISTS guest")
        admin.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    address = URI.parse(server)
    adapter = open_adapter(f"postgresql://guest:guest@{address.host}:{address.port}/bare")
    with pytest.raises(BackendError, match="permission denied"):
        adapter.create_collection(CollectionSpec("books", 2))
    adapter.close()


def test_a_file_where_the_folder_should_be_is_a_connection_error(tmp_path: Path) -> None:
    (tmp_path / "pgvector").write_text("not a folder")
    with pytest.raises(BackendConnectionError, match="pgvector"):
        open_adapter(embedded_uri("pgvector", tmp_path))


@pytest.mark.slow
def test_an_embedded_server_that_is_long_in_recovery_is_waited_for(tmp_path: Path) -> None:
    program = "import sys, qvec; print(qvec.connect(sys.argv[1]).collections())"
    command = [sys.executable, "-c", program, embedded_uri("pgvector", tmp_path).reveal()]
    subprocess.run(command, capture_output=True, check=True)
    [settings] = tmp_path.rglob("postgresql.auto.conf")
    with settings.open("a") as file:
        file.write("restore_command = 'test -e met || (touch met && sleep 15); false'\n")
    (settings.parent / "recovery.signal").touch()
    shutil.chown(settings.parent / "recovery.signal", settings.owner())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (settings.parent / "met").exists()
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_two_processes_share_one_embedded_folder(adapter: Adapter, folder: Path) -> None:
    fill(adapter, "shared", 5, 4, kind="flat")
    code = (
        "import sys, numpy as np\n"
        "from qvec.registry import open_adapter\n"
        "from qvec.types import Document\n"
        "adapter = open_adapter(sys.argv[1])\n"
        "adapter.upsert('shared', [Document('theirs', 'x')], np.ones((1, 4), np.float32))\n"
        "print(adapter.count('shared'))\n"
        "adapter.close()\n"
    )
    uri = embedded_uri("pgvector", folder).reveal()
    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "6"
    assert [document.id for document in adapter.get("shared", ["theirs"])] == ["theirs"]


def test_a_collection_dropped_and_made_anew_by_another_connection_is_found(adapter: Adapter, folder: Path) -> None:
    vectors = fill(adapter, "moved", 5, 4, kind="flat")
    assert adapter.count("moved") == 5
    other = open_adapter(embedded_uri("pgvector", folder))
    fill(other, "moved", 3, 4, kind="flat")
    other.close()
    assert len(adapter.search_dense("moved", vectors[:1], k=10)[0]) == 3


def test_making_a_collection_twice_is_an_error(adapter: Adapter) -> None:
    adapter.create_collection(CollectionSpec("twice", 4), exist_ok=True)
    with pytest.raises(CollectionExistsError, match="drop it first"):
        adapter.create_collection(CollectionSpec("twice", 4))


def test_every_error_of_the_driver_has_an_entry() -> None:
    mapped = [theirs for theirs, _ in errors.MAP]
    own = [value for value in vars(psycopg).values() if isinstance(value, type) and issubclass(value, Exception)]
    for kind in set(own) - {psycopg.Rollback}:  # Rollback is a signal of the caller's, not an error
        assert kind in mapped, f"{kind.__name__} is not in the map"
    for position, (theirs, _) in enumerate(errors.MAP):
        assert not any(issubclass(theirs, earlier) for earlier in mapped[:position]), f"{theirs.__name__} is hidden"
