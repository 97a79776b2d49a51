"""Both legs and their fusion in one statement, equal to `qvec.fusion.fuse`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from psycopg import sql

from qvec.evidence import DENSE_RANK
from qvec.filters import Filter
from qvec.fusion import FusionSpec, fuse
from qvec.types import Document, Hit, Leg, LegName, Metric, Vector
from qvec_pgvector import lexical, rows, search
from qvec_pgvector.connections import Connection
from qvec_pgvector.schema import Entry

# Only the page's documents are read. The sums have the order of the core's, so that ties stay ties.
_FUSED = """
WITH near AS MATERIALIZED ({near}),
dense AS (
    SELECT id, score, row_number() OVER leg AS rank, %s * {dense_worth} AS part
    FROM (SELECT id, {base} - distance AS score, distance FROM near) AS scored
    WINDOW leg AS (ORDER BY distance, id)),
{ranked},
weighed AS MATERIALIZED (SELECT {weight} AS weight),
lexical AS (
    SELECT id, score, row_number() OVER leg AS rank, weight * {lexical_worth} AS part
    FROM ranked, weighed WINDOW leg AS (ORDER BY score DESC, id)),
fused AS (
    SELECT id, lexical.rank AS lexical_rank, lexical.score AS lexical_score, lexical.part AS lexical_part,
        dense.rank AS dense_rank, dense.score AS dense_score, dense.part AS dense_part,
        coalesce(lexical.part, 0) + coalesce(dense.part, 0) AS score
    FROM lexical FULL JOIN dense USING (id) ORDER BY score DESC, id LIMIT %s OFFSET %s)
SELECT {columns}, score, lexical_rank, lexical_score, lexical_part, dense_rank, dense_score, dense_part,
    coalesce((SELECT max(part) FROM lexical), 0) + coalesce((SELECT max(part) FROM dense), 0),
    (SELECT weight FROM weighed), (SELECT count(*) FROM near)
FROM fused JOIN {table} USING (id) ORDER BY score DESC, id
"""
# `Evidence.weight`; its power is held within bounds before exp, which raises an error where it would give 0.
_EVIDENCE = """
(SELECT exp(least(ln(%s::float8), greatest(ln(%s::float8),
    %s + %s * coalesce(ahead / nullif(top, 0), 0) + %s * ahead - %s * fall)))
FROM
    (SELECT coalesce(max(score), 0) AS top,
        coalesce(max(score) - coalesce(max(score) FILTER (WHERE at = %s), 0), 0) AS ahead
     FROM (SELECT score, row_number() OVER (ORDER BY score DESC, id) AS at FROM ranked) AS words) AS words,
    (SELECT coalesce(max(score) - min(score), 0) AS fall FROM dense WHERE rank <= %s) AS meaning)
"""
_BY_RANK = "(1.0::float8 / (%s + row_number() OVER leg))"
_BY_SCORE = """
(CASE WHEN max(score) OVER () = min(score) OVER () THEN 1.0::float8
ELSE (score - min(score) OVER ()) / {unit} END)
"""
_UNITS = {
    "min-max": sql.SQL("(max(score) OVER () - min(score) OVER ())"),
    "z-score": sql.SQL("stddev_pop(score) OVER ()"),
    "raw": sql.SQL("1.0::float8"),
}


def fused(
    connection: Connection,
    entry: Entry,
    query: str,
    vector: Vector,
    *,
    how: FusionSpec,
    window: int,
    k: int,
    offset: int,
    filter: Filter | None,
    ef: int | None,
) -> list[Hit]:
    """Rank the best fused records of one query."""
    terms = lexical.terms_of(connection, entry, query)
    zero = entry.spec.metric is Metric.COSINE and not np.any(vector)
    if not terms or zero:  # one leg, or a dense leg without an order of its own: nothing to save
        legs: dict[LegName, list[Hit]] = {
            "lexical": lexical.best(connection, entry, query, k=window, offset=0, filter=filter),
            "dense": search.nearest(connection, entry, vector[None], window, filter, ef)[0],
        }
        return fuse(legs, how)[offset : offset + k]
    search.set_breadth(connection, window, ef)
    statement, values = _statement(entry, terms, vector, how, window, filter)
    found = connection.raw.execute(statement, [*values, k, offset]).fetchall()
    near = int(str(found[0][-1])) if found else 0
    if near < window and search.may_have_missed(connection, entry):
        with connection.raw.transaction():
            connection.raw.execute(search.EXACTLY)
            found = connection.raw.execute(statement, [*values, k, offset]).fetchall()
    return [_hit(row, document, how) for row, document in zip(found, rows.documents(found), strict=True)]


def _statement(
    entry: Entry, terms: Sequence[str], vector: Vector, how: FusionSpec, window: int, filter: Filter | None
) -> tuple[sql.Composed, list[object]]:
    near, near_values = search.nearest_ids(entry, vector, filter, window)
    ranked, ranked_values = lexical.ranked_query(entry, terms, k=window, offset=0, filter=filter)
    worth, constants = _worth(how)
    weight, weight_values = _weight(how)
    statement = sql.SQL(_FUSED).format(
        near=near,
        dense_worth=worth,
        base=sql.SQL("1" if entry.spec.metric is Metric.COSINE else "0"),
        ranked=ranked,
        weight=weight,
        lexical_worth=sql.SQL("score") if how.method == "linear" and how.scaling == "raw" else worth,
        columns=rows.COLUMNS,
        table=entry.table,
    )
    dense_values = [*near_values, how.weight("dense"), *constants]
    return statement, [*dense_values, *ranked_values, *weight_values, *constants]


def _weight(how: FusionSpec) -> tuple[sql.Composable, list[object]]:
    evidence = how.evidence
    if evidence is None:
        return sql.SQL("%s::float8"), [how.weight("lexical")]
    bounds = [evidence.most, evidence.least]
    factors = [evidence.base, evidence.lead, evidence.points, evidence.drop]
    return sql.SQL(_EVIDENCE), [*bounds, *factors, evidence.rank, DENSE_RANK]


def _worth(how: FusionSpec) -> tuple[sql.Composable, list[object]]:
    if how.method == "rrf":
        return sql.SQL(_BY_RANK), [how.rank_constant]
    return sql.SQL(_BY_SCORE).format(unit=_UNITS[how.scaling]), []


def _hit(row: Sequence[object], document: Document, how: FusionSpec) -> Hit:
    score, *accounts, best, weight, _near = row[5:]
    weights = {"lexical": float(str(weight)), "dense": how.weight("dense")}
    names: tuple[LegName, LegName] = ("lexical", "dense")
    legs = tuple(
        Leg(name, int(str(rank)), float(str(own)), float(str(part)), weight=weights[name])
        for name, (rank, own, part) in zip(names, (accounts[:3], accounts[3:]), strict=True)
        if rank is not None
    )
    total, most = float(str(score)), float(str(best))
    return Hit(document, total, legs, relevance=min(1.0, total / most) if most else 0.0)
