"""The keyword leg: BM25 in one statement on a stock PostgreSQL, its candidates from a GIN index."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from qvec.filters import Filter
from qvec.lexical import K1, B, query_terms
from qvec.types import Hit
from qvec_pgvector import rows
from qvec_pgvector.connections import Connection
from qvec_pgvector.filters import compile_filter
from qvec_pgvector.load import lexeme
from qvec_pgvector.schema import Entry

# A lexeme's only position is its frequency. df counts every match, whatever the filter. The sum has a fixed order,
# so that documents alike in everything get scores alike to the last bit.
RANKED = """
corpus AS (
    SELECT documents::float8 AS n, greatest(tokens, 1)::float8 / greatest(documents, 1) AS average
    FROM qvec_collections WHERE number = %s),
candidates AS MATERIALIZED (
    SELECT id, token_count, tokens, {condition} AS wanted FROM {table} WHERE tokens @@ %s::tsquery),
found AS MATERIALIZED (
    SELECT id, token_count, wanted, part.lexeme, part.positions[1]::float8 AS frequency
    FROM candidates, unnest(tokens) AS part WHERE part.lexeme = ANY(%s::text[])),
terms AS (
    SELECT lexeme, ln(1 + (max(n) - count(*) + 0.5) / (count(*) + 0.5)) AS idf FROM found, corpus GROUP BY lexeme),
ranked AS (
    SELECT id, sum(idf * frequency / (frequency + %s * (1 - %s + %s * token_count / average)) ORDER BY lexeme) AS score
    FROM found JOIN terms USING (lexeme) CROSS JOIN corpus WHERE wanted GROUP BY id
    ORDER BY score DESC, id LIMIT %s OFFSET %s)
"""
_BM25 = f"""
WITH {RANKED}
SELECT {{columns}}, score FROM ranked JOIN {{table}} USING (id) ORDER BY score DESC, id
"""  # noqa: S608 - no value is glued


def best(connection: Connection, entry: Entry, query: str, *, k: int, offset: int, filter: Filter | None) -> list[Hit]:
    """Rank the best records of one query."""
    terms = [lexeme(term) for term in query_terms(query)]
    if not terms:
        return []
    statement, parameters = bm25(entry, terms, k=k, offset=offset, filter=filter)
    found = connection.raw.execute(statement, parameters).fetchall()
    return [Hit(rows.document(row), float(str(row[-1]))) for row in found]


def bm25(
    entry: Entry, terms: Sequence[str], *, k: int, offset: int, filter: Filter | None
) -> tuple[sql.Composed, list[object]]:
    """Write the statement and its values."""
    condition, values = compile_filter(filter)
    statement = sql.SQL(_BM25).format(table=entry.table, columns=rows.COLUMNS, condition=condition)
    return statement, ranked_values(entry, terms, values, k=k, offset=offset)


def ranked_values(entry: Entry, terms: Sequence[str], filter: Sequence[object], *, k: int, offset: int) -> list[object]:
    """List the values of `RANKED`'s placeholders, the filter's among them."""
    return [entry.number, *filter, tsquery(terms), list(terms), K1, B, B, k, offset]


def tsquery(terms: Sequence[str]) -> str:
    """Write terms as a tsquery that any of them satisfies."""
    quoted = (term.replace("\\", "\\\\").replace("'", "''") for term in terms)
    return " | ".join(f"'{term}'" for term in quoted)
