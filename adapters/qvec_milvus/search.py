"""Both legs: ask for more than is wanted, until no tie can hide behind the cut, and put ties in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qvec.errors import UnsupportedError
from qvec_milvus.connection import Connection

MAX_WINDOW = 16_384
"""The most hits of one search that a server gives."""

_EXTRA = 4


def ranked(
    connection: Connection,
    name: str,
    queries: Sequence[object],
    depth: int,
    *,
    field: str,
    settings: dict[str, object],
    expression: str,
    score: Callable[[float], float],
    fields: list[str],
    zeros: Callable[[], list[dict[str, Any]]] | None = None,
) -> list[list[tuple[float, Mapping[str, Any]]]]:
    """Rank the best `depth` records of each query: best first, ties by id.

    Args:
        connection: to Milvus.
        name: of the Milvus collection.
        queries: vectors or texts.
        depth: how many are wanted.
        field: the vector or keyword field.
        settings: search parameters.
        expression: the filter, or empty.
        score: from Milvus' distance to ours.
        fields: to be read of each record.
        zeros: reads the records that the server leaves out and that score 0.

    Returns:
        Each record's score, and its row with ``id`` and ``entity``.

    Raises:
        UnsupportedError: `depth` is beyond what a search gives.
    """
    if depth > MAX_WINDOW:
        raise UnsupportedError(f"k + offset = {depth}: Milvus gives at most {MAX_WINDOW} hits of a search")

    def rounded(distance: float) -> float:
        # Equal vectors come back with scores that differ in the last bit of a float32, by where they lie in memory.
        return float(f"{score(distance):.6g}")

    answers: list[list[tuple[float, Mapping[str, Any]]]] = []
    waiting = list(queries)
    limit = min(depth + _EXTRA, MAX_WINDOW)
    found = _ask(connection, name, waiting, limit, field, settings, expression, fields)
    for query, first in zip(queries, found, strict=True):
        rows, wide = first, limit
        while len(rows) == wide < MAX_WINDOW and rounded(rows[-1]["distance"]) == rounded(rows[depth - 1]["distance"]):
            wide = min(wide * 4, MAX_WINDOW)
            rows = _ask(connection, name, [query], wide, field, settings, expression, fields)[0]
        if zeros and (len(rows) < wide or rounded(rows[-1]["distance"]) <= 0):
            there = {row["id"] for row in rows}
            rows = [*rows, *(row for row in zeros() if row["id"] not in there)]
        scored = [(rounded(row["distance"]), row) for row in rows]
        answers.append(sorted(scored, key=lambda each: (-each[0], each[1]["id"]))[:depth])
    return answers


def _ask(
    connection: Connection,
    name: str,
    queries: Sequence[object],
    limit: int,
    field: str,
    settings: dict[str, object],
    expression: str,
    fields: list[str],
) -> Any:
    widened = dict(settings)
    inner = dict(widened.get("params") or {})  # type: ignore[call-overload]
    if "ef" in inner:
        inner["ef"] = max(inner["ef"], limit)
    widened["params"] = inner
    return connection.client.search(
        name,
        list(queries),
        anns_field=field,
        limit=limit,
        search_params=widened,
        filter=expression,
        output_fields=fields,
        consistency_level=connection.level(name),
    )
