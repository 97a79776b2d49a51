"""PostgreSQL: tables that another program made, searched by the tsvector that it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import psycopg
import pytest
from psycopg import sql
from qvec_pgvector import embedded, foreign_lexical

from qvec.database import Database, connect
from qvec.errors import CollectionNotFoundError, InvalidInputError
from qvec.layouts import FieldMap
from qvec.lexical import idf, term_score
from qvec.where import parse

FORM = FieldMap(id="number", text="body", vector="embedding", keywords="words", analyzer="english")
TEXTS = [
    "He was running and running through the fields",
    "Who runs the server decides",
    "A quiet library of fields",
    "The fields are running dry",
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return embedded.start(tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def database(uri: str) -> Iterator[Database]:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("DROP TABLE IF EXISTS articles")
        connection.execute(
            "CREATE TABLE articles (number integer PRIMARY KEY, body text, lang text, embedding vector(2), "
            "words tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED)"
        )
        connection.execute("CREATE INDEX articles_words ON articles USING gin (words)")
        for number, text in enumerate(TEXTS):
            row = (number, text, "en" if number % 2 else "zh", f"[{number},1]")
            connection.execute("INSERT INTO articles VALUES (%s, %s, %s, %s)", row)
    with connect(uri, layout=FORM, model="hashing", dim=2) as opened:
        yield opened


def found(database: Database, query: str, where: str | None = None) -> dict[str, float]:
    condition = parse(where) if where else None
    [hits] = database.adapter.search_lexical("articles", [query], k=10, filter=condition)
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.id))
    return {hit.id: hit.score for hit in hits}


def test_a_word_is_found_in_its_other_forms_and_scored_by_bm25(database: Database) -> None:
    expected = {id: idf(4, 3) * term_score(times, 3, 3) for id, times in {"0": 2, "1": 1, "3": 1}.items()}
    assert found(database, "RUN") == pytest.approx(expected, rel=1e-9)
    assert found(database, "the of and") == {}
    assert set(found(database, "libraries")) == {"2"}


def test_a_query_of_twenty_thousand_words_is_answered(database: Database) -> None:
    words = " ".join("zq" + "".join(letters) for letters in product("abcdefghijkl", repeat=4))
    assert found(database, f"{words} library") == found(database, "library")


def test_statistics_follow_what_the_other_program_writes(database: Database, uri: str) -> None:
    before = found(database, "library")["2"]
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("UPDATE articles SET body = 'libraries' WHERE number = 0")
        connection.execute("DELETE FROM articles WHERE number = 3")
    after = found(database, "library")
    assert set(after) == {"0", "2"}
    assert after["2"] < before
    assert after["0"] == pytest.approx(math.log1p(1.5 / 2.5) * term_score(1, 1, 7 / 3))


def test_a_filter_narrows_the_hits_but_not_the_statistics(database: Database) -> None:
    everything = found(database, "running fields")
    assert found(database, "running fields", "lang = 'en'") == {id: everything[id] for id in ("1", "3")}


def test_hybrid_search_has_both_legs(database: Database) -> None:
    vector = np.array([3, 1], np.float32)
    hits = database.collection("articles").search("runs", vector=vector, k=4, explain=True)
    assert {leg.name for hit in hits for leg in hit.legs} == {"dense", "lexical"}
    assert hits[0].metadata == {"lang": hits[0].metadata["lang"]}


def test_the_other_program_s_index_is_used(database: Database) -> None:
    adapter = database.adapter
    with adapter._connections.use() as connection:
        table = adapter._table(connection, "articles")
        known = foreign_lexical.totals(connection, table)
        statement, values = foreign_lexical.statement_of(table, ["run"], known, k=3, offset=0, filter=None)
        plan = connection.raw.execute(sql.SQL("EXPLAIN ") + statement, values).fetchall()
    assert "articles_words" in "\n".join(row[0] for row in plan)


def test_a_configuration_that_is_not_there_is_refused_with_the_nearest(database: Database, uri: str) -> None:
    form = FieldMap(id="number", text="body", vector="embedding", keywords="words", analyzer="englsh")
    with connect(uri, layout=form) as wrong, pytest.raises(InvalidInputError, match="did you mean english"):
        wrong.adapter.search_lexical("articles", ["run"], k=3)


def test_a_column_that_is_no_tsvector_is_no_field_of_keywords(database: Database, uri: str) -> None:
    form = FieldMap(id="number", text="body", vector="embedding", keywords="lang")
    with connect(uri, layout=form) as wrong, pytest.raises(CollectionNotFoundError):
        wrong.describe("articles")
