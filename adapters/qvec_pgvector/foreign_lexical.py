"""BM25 over a tsvector that another program keeps, its candidates from that program's own GIN index."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from qvec.filters import Filter
from qvec.lexical import K1, B
from qvec_pgvector.connections import Connection
from qvec_pgvector.filters import compile_filter
from qvec_pgvector.foreign_tables import ForeignTable
from qvec_pgvector.lexical import tsqueries

# A lexeme without positions, as strip() leaves it, counts once.
_TOTALS = """
SELECT count(*), coalesce(sum(length), 0) FROM {view},
    LATERAL (SELECT sum(coalesce(cardinality(positions), 1)) AS length FROM unnest(tokens)) AS counted
"""

_RANKED = """
WITH candidates AS MATERIALIZED (
    SELECT DISTINCT ON (id) id, tokens, wanted FROM unnest(%s::text[]::tsquery[]) AS asked(query), LATERAL (
        SELECT id, tokens, {condition} AS wanted FROM {view} WHERE tokens @@ query) AS matching),
found AS MATERIALIZED (
    SELECT id, wanted, lexeme, frequency, length FROM candidates, LATERAL (
        SELECT lexeme, coalesce(cardinality(positions), 1)::float8 AS frequency,
            sum(coalesce(cardinality(positions), 1)) OVER ()::float8 AS length
        FROM unnest(tokens)) AS part
    WHERE lexeme = ANY(%s::text[])),
terms AS (SELECT lexeme, ln(1 + (%s - count(*) + 0.5) / (count(*) + 0.5)) AS idf FROM found GROUP BY lexeme)
SELECT id, sum(idf * frequency / (frequency + %s * (1 - %s + %s * length / %s)) ORDER BY lexeme) AS score
FROM found JOIN terms USING (lexeme) WHERE wanted GROUP BY id ORDER BY score DESC, id LIMIT %s OFFSET %s
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """How many records a table has, and how many words they have together."""

    records: int
    words: int


def totals(connection: Connection, table: ForeignTable) -> Totals:
    """Count a table's records and words, by reading every tsvector."""
    row = connection.raw.execute(sql.SQL(_TOTALS).format(view=table.view)).fetchone()
    return Totals(int(str(row[0])), int(str(row[1]))) if row else Totals(0, 0)


def ranked(
    connection: Connection,
    table: ForeignTable,
    query: str,
    known: Totals,
    *,
    k: int,
    offset: int,
    filter: Filter | None,
) -> list[tuple[str, float]]:
    """Rank the best records of one query: ids and scores, best first."""
    terms = _terms(connection, table.form.analyzer, query)
    if not terms:
        return []
    statement, values = statement_of(table, terms, known, k=k, offset=offset, filter=filter)
    found = connection.raw.execute(statement, values).fetchall()
    return [(str(identity), float(str(score))) for identity, score in found]


def statement_of(
    table: ForeignTable, terms: list[str], known: Totals, *, k: int, offset: int, filter: Filter | None
) -> tuple[sql.Composed, list[object]]:
    """Write the statement and its values."""
    condition, values = compile_filter(filter)
    average = max(known.words, 1) / max(known.records, 1)
    statement = sql.SQL(_RANKED).format(view=table.view, condition=condition)
    return statement, [tsqueries(terms), *values, terms, float(known.records), K1, B, B, average, k, offset]


def _terms(connection: Connection, configuration: str, query: str) -> list[str]:
    statement = "SELECT lexeme FROM unnest(to_tsvector(coalesce(%s::text::regconfig, get_current_ts_config()), %s))"
    return sorted(str(row[0]) for row in connection.raw.execute(statement, (configuration or None, query)))
