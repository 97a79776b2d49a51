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

_FEW = 24
"""Up to so many terms each gets a column of frequencies; the lexemes of all candidates are unfolded for more."""

_RE_READ = 2
"""From so many terms on, a row's tokens are unpacked once for all of them."""

# df counts every match, whatever the filter. Terms are summed in a fixed order, so that documents alike in everything
# get scores alike to the last bit.
_BM25 = """
WITH {ranked}
SELECT {columns}, score FROM ranked JOIN {table} USING (id) ORDER BY score DESC, id
"""

_COUNTED = """
corpus AS (
    SELECT documents::float8 AS n, greatest(tokens, 1)::float8 / greatest(documents, 1) AS average
    FROM qvec_collections WHERE number = %s),
counted AS MATERIALIZED (
    SELECT id, token_count, wanted, {frequencies}
    FROM (SELECT id, token_count, {tokens} AS tokens, {condition} AS wanted FROM {table}
          WHERE tokens @@ %s::tsquery OFFSET 0) candidates),
terms AS (SELECT {idfs} FROM counted, corpus),
ranked AS (
    SELECT id, {score} AS score
    FROM (SELECT *, %s * (1 - %s + %s * token_count / average) AS norm FROM counted, corpus WHERE wanted) found, terms
    ORDER BY score DESC, id LIMIT %s OFFSET %s)
"""

_FREQUENCY = """
coalesce(
    nullif(width_bucket(ts_rank('{{1,1,1,1}}', tokens, %s::tsquery)::float8, {steps}), {most}),
    (SELECT part.positions[{most}] FROM unnest(tokens) AS part WHERE part.lexeme = %s))::float8 AS {name}
"""

_UNFOLDED = """
corpus AS (
    SELECT documents::float8 AS n, greatest(tokens, 1)::float8 / greatest(documents, 1) AS average
    FROM qvec_collections WHERE number = %s),
candidates AS MATERIALIZED (
    SELECT id, token_count, tokens, {condition} AS wanted FROM {table} WHERE tokens @@ %s::tsquery),
found AS MATERIALIZED (
    SELECT id, token_count, wanted, part.lexeme,
        coalesce(part.positions[{most}], cardinality(part.positions))::float8 AS frequency
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
    terms = terms_of(query)
    if not terms:
        return []
    statement, parameters = bm25(entry, terms, k=k, offset=offset, filter=filter)
    found = connection.raw.execute(statement, parameters).fetchall()
    documents = rows.documents(found)
    return [Hit(document, float(str(row[-1]))) for row, document in zip(found, documents, strict=True)]


def terms_of(query: str) -> list[str]:
    """List a query's terms as lexemes, in the order that their parts of a score are added up in."""
    return sorted(lexeme(term) for term in query_terms(query))


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
    common = {"table": entry.table, "condition": condition}
    last = [*values, tsquery(terms)]
    if len(terms) > _FEW:
        unfolded = sql.SQL(_UNFOLDED).format(most=sql.Literal(MAX_POSITIONS), **common)
        return unfolded, [entry.number, *last, list(terms), K1, B, B, k, offset]
    pairs = [(sql.Identifier(f"f{at}"), sql.Identifier(f"idf{at}")) for at in range(len(terms))]
    frequency, comma = sql.SQL(_FREQUENCY), sql.SQL(", ")
    most = sql.Literal(MAX_POSITIONS)
    counted = sql.SQL(_COUNTED).format(
        frequencies=comma.join(frequency.format(steps=_STEPS, most=most, name=name) for name, _ in pairs),
        tokens=sql.SQL("ts_filter(tokens, '{d}')" if len(terms) >= _RE_READ else "tokens"),
        idfs=comma.join(_IDF.format(frequency=name, idf=idf) for name, idf in pairs),
        score=sql.SQL(" + ").join(_PART.format(frequency=name, idf=idf) for name, idf in pairs),
        **common,
    )
    each = [value for term in terms for value in (tsquery([term]), term)]
    return counted, [entry.number, *each, *last, K1, B, B, k, offset]


def tsquery(terms: Sequence[str]) -> str:
    """Write terms as a tsquery that any of them satisfies."""
    quoted = (term.replace("\\", "\\\\").replace("'", "''") for term in terms)
    return " | ".join(f"'{term}'" for term in quoted)


_IDF = sql.SQL(
    "ln(1 + (max(n) - count(*) FILTER (WHERE {frequency} > 0) + 0.5) "
    "/ (count(*) FILTER (WHERE {frequency} > 0) + 0.5)) AS {idf}"
)
_PART = sql.SQL("{idf} * {frequency} / ({frequency} + norm)")


def _steps() -> sql.Composable:
    """Write where `ts_rank` goes from one frequency to the next.

    With all weights 1 it gives a lexeme of f positions ``(1 + 1/4 + ... + 1/f^2) / (pi^2 / 6)``: nothing else in stock
    PostgreSQL reads a tsvector's positions without unfolding all of it.
    """
    sums = list(accumulate(1 / number**2 for number in range(1, MAX_POSITIONS + 1)))
    middles = [(low + high) / 2 / 1.64493406685 for low, high in zip([0.0, *sums], sums, strict=False)]
    return sql.SQL("'{{{}}}'::float8[]".format(",".join(f"{middle:.9f}" for middle in middles)))


_STEPS = _steps()
