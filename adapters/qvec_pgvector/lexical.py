"""The keyword leg: BM25 in one statement on a stock PostgreSQL, its candidates from a GIN index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from psycopg import sql

from qvec.filters import Filter
from qvec.lexical import K1, B, query_terms
from qvec.tsvector import MAX_POSITIONS, lexeme
from qvec.types import Hit
from qvec_pgvector import rows
from qvec_pgvector.connections import Connection
from qvec_pgvector.filters import compile_filter
from qvec_pgvector.schema import Entry

_FEW = 128
"""Up to so many terms, each is counted by itself; for more, the lexemes of all candidates are unfolded once."""

_AT_ONCE = 1000
"""A tsquery is read by recursion: of 20,000 terms in a row it overflows the server's stack, and 10,000 take seconds."""

# df counts every match, whatever the filter. Terms are summed in a fixed order, so that documents alike in everything
# get scores alike to the last bit.
_BM25 = """
WITH {ranked}
SELECT {columns}, score FROM ranked JOIN {table} USING (id) ORDER BY score DESC, id
"""

# To read a document's tokens costs more than all else, so that common words alone make no candidate (MaxScore, Turtle
# and Flood 1995). The k-th best of the documents with the rarest terms sets the bar; a term adds less than its idf, so
# who has none of the needed terms, those whose idf and all smaller ones together pass the bar, stays below it.
_COUNTED = """
corpus AS (
    SELECT documents::float8 AS n, greatest(tokens, 1)::float8 / greatest(documents, 1) AS average
    FROM qvec_collections WHERE number = %s),
terms AS MATERIALIZED (
    SELECT lexeme, query, found, ln(1 + (n - found + 0.5) / (found + 0.5)) AS idf
    FROM corpus, unnest(%s::text[], %s::text[]::tsquery[]) AS asked(lexeme, query),
        LATERAL (SELECT count(*)::float8 AS found FROM {table} WHERE tokens @@ query) AS counted),
rare AS (
    SELECT string_agg(query::text, ' | ')::tsquery AS query
    FROM (SELECT query, sum(found) OVER (ORDER BY found, lexeme) - found AS before FROM terms) AS asked
    WHERE before < %s),
seeds AS MATERIALIZED (
    SELECT id, {score} AS score FROM ({rare}) AS candidates),
bar AS (
    SELECT score FROM seeds ORDER BY score DESC LIMIT 1 OFFSET %s),
needed AS (
    SELECT string_agg(query::text, ' | ')::tsquery && !!(SELECT query FROM rare) AS query
    FROM (SELECT query, sum(idf) OVER (ORDER BY idf, lexeme) AS most FROM terms) AS asked
    WHERE most > coalesce((SELECT score FROM bar), 0) * 0.999999),
ranked AS (
    SELECT id, score FROM (
        SELECT id, score FROM seeds UNION ALL SELECT id, {score} AS score FROM ({needed}) AS candidates) AS scored
    ORDER BY score DESC, id LIMIT %s OFFSET %s)
"""

# Handed through ts_delete, a row's tokens are read from their own table once for all terms.
_CANDIDATES = """
SELECT id, ts_delete(tokens, ''::text) AS tokens, {k1} * (1 - {b} + {b} * token_count / average) AS norm
FROM corpus, {table} WHERE tokens @@ (SELECT query FROM {terms}) AND {condition} OFFSET 0
"""

_SCORE = """
(SELECT sum(CASE WHEN frequency > 0 THEN idf * frequency / (frequency + norm) ELSE 0 END)
 FROM (SELECT idf, coalesce(
        nullif(width_bucket(ts_rank('{{1,1,1,1}}', tokens, query)::float8, {steps}), {most}),
        (SELECT {many} FROM unnest(tokens) AS part WHERE part.lexeme = terms.lexeme))::float8 AS frequency
       FROM terms OFFSET 0) AS parts)
"""

_SEEDS = 10

_UNFOLDED = """
corpus AS (
    SELECT documents::float8 AS n, greatest(tokens, 1)::float8 / greatest(documents, 1) AS average
    FROM qvec_collections WHERE number = %s),
matching AS MATERIALIZED (
    SELECT DISTINCT id FROM unnest(%s::text[]::tsquery[]) AS asked(query), LATERAL (
        SELECT id FROM {table} WHERE tokens @@ query) AS matched),
candidates AS MATERIALIZED (
    SELECT id, token_count, tokens, {condition} AS wanted FROM matching JOIN {table} USING (id)),
found AS MATERIALIZED (
    SELECT id, token_count, wanted, part.lexeme,
        coalesce({many}, cardinality(part.positions))::float8 AS frequency
    FROM candidates, unnest(tokens) AS part WHERE part.lexeme = ANY(%s::text[])),
terms AS (
    SELECT lexeme, ln(1 + (max(n) - count(*) + 0.5) / (count(*) + 0.5)) AS idf FROM found, corpus GROUP BY lexeme),
ranked AS (
    SELECT id, sum(idf * frequency / (frequency + %s * (1 - %s + %s * token_count / average)) ORDER BY lexeme) AS score
    FROM found JOIN terms USING (lexeme) CROSS JOIN corpus WHERE wanted GROUP BY id
    ORDER BY score DESC, id LIMIT %s OFFSET %s)
"""


def best(connection: Connection, entry: Entry, query: str, *, k: int, offset: int, filter: Filter | None) -> list[Hit]:
    """Rank the best records of one query."""
    terms = terms_of(connection, entry, query)
    if not terms:
        return []
    statement, parameters = bm25(entry, terms, k=k, offset=offset, filter=filter)
    found = connection.raw.execute(statement, parameters).fetchall()
    documents = rows.documents(found)
    return [Hit(document, float(str(row[-1]))) for row, document in zip(found, documents, strict=True)]


def terms_of(connection: Connection, entry: Entry, query: str) -> list[str]:
    """List a query's terms as lexemes, in the order that their parts of a score are added up in."""
    if entry.spec.analyzer is None:
        return sorted(lexeme(term) for term in query_terms(query))
    statement = "SELECT lexeme FROM unnest(to_tsvector(%s::text::regconfig, %s))"
    return sorted(str(row[0]) for row in connection.raw.execute(statement, (entry.spec.analyzer, query)))


def bm25(
    entry: Entry, terms: Sequence[str], *, k: int, offset: int, filter: Filter | None
) -> tuple[sql.Composed, list[object]]:
    """Write the statement and its values."""
    ranked, values = ranked_query(entry, terms, k=k, offset=offset, filter=filter)
    return sql.SQL(_BM25).format(ranked=ranked, columns=rows.COLUMNS, table=entry.table), values


def ranked_query(
    entry: Entry, terms: Sequence[str], *, k: int, offset: int, filter: Filter | None
) -> tuple[sql.Composed, list[object]]:
    """Write the WITH queries of which the last, ``ranked``, gives ids and scores; and their values."""
    condition, values = compile_filter(filter)
    depth = k + offset
    many = _MANY_OWN if entry.spec.analyzer is None else _MANY
    if len(terms) > _FEW:
        unfolded = sql.SQL(_UNFOLDED).format(table=entry.table, condition=condition, many=many)
        return unfolded, [entry.number, tsqueries(terms), *values, list(terms), K1, B, B, k, offset]
    rare, needed = (
        sql.SQL(_CANDIDATES).format(
            table=entry.table, condition=condition, terms=sql.SQL(which), k1=sql.Literal(K1), b=sql.Literal(B)
        )
        for which in ("rare", "needed")
    )
    score = sql.SQL(_SCORE).format(steps=_STEPS, most=sql.Literal(MAX_POSITIONS), many=many)
    counted = sql.SQL(_COUNTED).format(table=entry.table, rare=rare, needed=needed, score=score)
    queries = [tsquery([term]) for term in terms]
    seeds = 2 * depth + _SEEDS
    return counted, [entry.number, list(terms), queries, seeds, *values, depth - 1, *values, k, offset]


def tsquery(terms: Sequence[str]) -> str:
    """Write terms as a tsquery that any of them satisfies."""
    quoted = (term.replace("\\", "\\\\").replace("'", "''") for term in terms)
    return " | ".join(f"'{term}'" for term in quoted)


def tsqueries(terms: Sequence[str]) -> list[str]:
    """Write terms as tsqueries of which any of them satisfies one."""
    return [tsquery(terms[start : start + _AT_ONCE]) for start in range(0, len(terms), _AT_ONCE)]


def _steps() -> sql.Composable:
    """Write where `ts_rank` goes from one frequency to the next.

    With all weights 1 it gives a lexeme of f positions ``(1 + 1/4 + ... + 1/f^2) / (pi^2 / 6)``: nothing else in stock
    PostgreSQL reads a tsvector's positions without unfolding all of it.
    """
    sums = list(accumulate(1 / number**2 for number in range(1, MAX_POSITIONS + 1)))
    middles = [(low + high) / 2 / 1.64493406685 for low, high in zip([0.0, *sums], sums, strict=False)]
    return sql.SQL("'{{{}}}'::float8[]".format(",".join(f"{middle:.9f}" for middle in middles)))


_STEPS = _steps()

_MANY_OWN = sql.SQL("part.positions[{}]").format(sql.Literal(MAX_POSITIONS))
_MANY = sql.SQL("cardinality(part.positions)")
"""How often a lexeme occurs that occurs very often, in tokens that `load.tsvector` and that ``to_tsvector`` wrote."""
