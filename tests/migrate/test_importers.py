"""What LangChain, LlamaIndex and pgai keep in PostgreSQL is copied, with its vectors where they are the model's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pytest

import qvec
from qvec.errors import InvalidInputError
from qvec.migrate import CopyJob, FieldMap, copy
from qvec.registry import embedded_uri, load_embedder, open_adapter
from tests.integrations import test_foreign as foreign
from tests.integrations.foreign_writers import DIM, model, write_llamaindex, write_pgvector, write_pgvectorstore
from tests.migrate.postgres import psycopg

# PGVectorStore takes none but UUIDs.
DOCUMENTS = tuple(replace(item, id=str(uuid5(NAMESPACE_URL, item.id))) for item in foreign.DOCUMENTS)
WRITERS = {
    "langchain-pgvector": ("langchain", write_pgvector),
    "langchain-pgvectorstore": ("langchain", write_pgvectorstore),
    "llamaindex": ("llamaindex", write_llamaindex),
}
POSTS = [(number, f"Post {number}", f"the text of post {number} on topic{number % 7}. " * 2) for number in range(1, 41)]


@pytest.fixture
def target(tmp_path: Path) -> str:
    return embedded_uri("faiss", tmp_path / "target").reveal()


@pytest.fixture
def postgres(server: str) -> str:
    """A database with nothing but pgvector in it."""
    with psycopg.connect(server, autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS others WITH (FORCE)")
        db.execute("CREATE DATABASE others")
    url = server.replace("/postgres?", "/others?")
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE EXTENSION vector")
    return url


@pytest.fixture
def pgai(postgres: str) -> str:
    """A table, and what pgai's vectorizer makes for it: the table of chunks with vectors, and the view of both."""
    made = model().encode_document([body for _, _, body in POSTS])
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE TABLE blog (id int PRIMARY KEY, title text, author text)")
        db.execute(
            "CREATE TABLE blog_embedding_store (embedding_uuid uuid NOT NULL PRIMARY KEY DEFAULT gen_random_uuid(), "
            f"id int NOT NULL, chunk_seq int NOT NULL, chunk text NOT NULL, embedding vector({DIM}) NOT NULL, "
            "UNIQUE (id, chunk_seq), FOREIGN KEY (id) REFERENCES blog (id) ON DELETE CASCADE)"
        )
        db.execute("ALTER TABLE blog_embedding_store ALTER COLUMN embedding SET STORAGE main")
        db.execute(
            "CREATE VIEW blog_embedding AS SELECT t.embedding_uuid, t.chunk_seq, t.chunk, t.embedding, "
            "t.id, s.title, s.author FROM blog_embedding_store t LEFT JOIN blog s ON t.id = s.id"
        )
        for (number, title, body), vector in zip(POSTS, made, strict=True):
            db.execute("INSERT INTO blog VALUES (%s, %s, 'me')", (number, title))
            db.execute(
                "INSERT INTO blog_embedding_store (id, chunk_seq, chunk, embedding) VALUES (%s, 0, %s, %s)",
                (number, body, str(vector.tolist())),
            )
    return postgres


def copied(target: str, name: str) -> dict[str, tuple[str, np.ndarray]]:
    adapter = open_adapter(target)
    try:
        [batch] = adapter.scan(name, vectors=True)
    finally:
        adapter.close()
    return {item.text: (item.id, vector) for item, vector in zip(batch.documents, batch.vectors, strict=True)}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("stated", "is_carried"), [("bundled", True), ("hashing", False), (None, False)])
def test_a_frameworks_table_is_copied(
    kind: str, stated: str | None, is_carried: bool, postgres: str, target: str, tmp_path: Path
) -> None:
    layout, write = WRITERS[kind]
    write(postgres, "notes", DOCUMENTS)
    report = copy(
        CopyJob(
            source=postgres, source_collection="notes", layout=layout, source_model=stated,
            source_dim=DIM if stated else None, target=target, collection="mine", journal=tmp_path / "j",
        )
    )  # fmt: skip
    assert (report.documents, report.failed, report.carried) == (len(DOCUMENTS), 0, is_carried)
    held = copied(target, "mine")
    assert held.keys() == {document.text for document in DOCUMENTS}
    if is_carried:
        made = model().encode_document([document.text for document in DOCUMENTS])
        for document, vector in zip(DOCUMENTS, made, strict=True):
            np.testing.assert_allclose(held[document.text][1], vector, atol=1e-3)
    with qvec.connect(target) as database:
        hits = database.collection("mine").search("csv file", where="lang = 'py'")
        assert {hit.text for hit in hits} == {"read a csv file", "write a csv file line by line"}


@pytest.mark.parametrize("table", ["blog_embedding", "blog_embedding_store"])
def test_what_pgai_made_is_copied_with_its_vectors(table: str, pgai: str, target: str, tmp_path: Path) -> None:
    chosen = CopyJob(
        source=pgai, table=table, layout="pgai", source_model="bundled", source_dim=DIM, target=target,
        collection="blog", journal=tmp_path / "j",
    )  # fmt: skip
    report = copy(chosen)
    assert (report.documents, report.failed, report.carried) == (len(POSTS), 0, True)
    with qvec.connect(target) as database:
        hit = database.collection("blog").search(POSTS[16][2], k=1, where="chunk_seq = 0")[0]
        assert database.describe("blog").passport == qvec.passport.passport_of(model())
    assert hit.metadata["id"] == 17
    assert hit.metadata.get("title") == ("Post 17" if table == "blog_embedding" else None)


def test_vectors_of_another_model_than_the_one_stated_are_made_anew(pgai: str, target: str, tmp_path: Path) -> None:
    with psycopg.connect(pgai, autocommit=True) as db:
        db.execute("UPDATE blog_embedding_store SET embedding = (SELECT embedding FROM blog_embedding_store LIMIT 1)")
    report = copy(
        CopyJob(
            source=pgai, table="blog_embedding", layout="pgai", source_model="bundled", source_dim=DIM, target=target,
            collection="blog", journal=tmp_path / "j",
        )
    )  # fmt: skip
    assert (report.documents, report.carried) == (len(POSTS), False)
    held = copied(target, "blog")
    made = load_embedder("bundled", dim=DIM).encode_document([f"Post 5\n\n{POSTS[4][2]}", POSTS[4][2]])
    assert max(made @ held[POSTS[4][2]][1]) == pytest.approx(1, abs=1e-3)


def test_vectors_in_a_file_are_carried_and_those_that_cannot_be_are_named(target: str, tmp_path: Path) -> None:
    made = model().encode_document([body for _, _, body in POSTS])
    rows: list[dict[str, object]] = [
        {"id": number, "text": body, "v": vector.tolist()}
        for (number, _, body), vector in zip(POSTS, made, strict=True)
    ]
    rows[20]["v"], rows[21]["v"], rows[22]["v"] = None, [1.0], "no vector"
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = copy(
        CopyJob(
            source=str(tmp_path / "a.jsonl"), fields=FieldMap(vector="v"), source_model="bundled", source_dim=DIM,
            target=target, collection="rows", journal=tmp_path / "j",
        )
    )  # fmt: skip
    assert (report.documents, report.carried) == (len(POSTS) - 3, True)
    assert [place for place, _ in report.errors] == ["a.jsonl:21", "a.jsonl:22", "a.jsonl:23"]
    assert [reason.split(":")[0] for _, reason in report.errors] == [
        "it has no vector",
        f"it has a vector of 1 numbers, not {DIM}",
        "its vector cannot be read",
    ]


def test_pgais_table_must_be_named(pgai: str, target: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="name the table"):
        copy(CopyJob(source=pgai, layout="pgai", target=target, collection="blog", journal=tmp_path / "j"))
