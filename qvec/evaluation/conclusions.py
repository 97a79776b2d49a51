"""What the figures say, in sentences: which dim is enough, and what hybrid adds."""

from __future__ import annotations

from collections.abc import Sequence

from qvec.evaluation.grid import Row

ENOUGH = 0.99
"""A dim is enough when it keeps this share of the best one's figure."""


def conclusions(rows: Sequence[Row], metric: str) -> list[str]:
    """Say for each backend and model which dim is enough, where there were several, and what hybrid adds.

    Args:
        rows: of `evaluate`.
        metric: to judge by, one of the rows' figures.

    Returns:
        Sentences; none where there is nothing to compare.
    """
    places = list(dict.fromkeys((row.backend, row.model) for row in rows))
    told: list[str] = []
    for place in places:
        mine = [row for row in rows if (row.backend, row.model) == place]
        said = [*_dims(mine, metric), *_hybrid(mine, metric)]
        where = ", ".join(filter(None, place))
        told += [f"{where}: {sentence}" if len(places) > 1 else sentence for sentence in said]
    return told


def _dims(rows: Sequence[Row], metric: str) -> list[str]:
    judged = [row for row in rows if row.mode == "hybrid"] or [row for row in rows if row.mode == "dense"]
    if len({row.dim for row in judged}) < 2:
        return []
    best = max(judged, key=lambda row: row.figures[metric])
    enough = min(
        (row for row in judged if row.figures[metric] >= ENOUGH * best.figures[metric]), key=lambda row: row.dim
    )
    share = enough.figures[metric] / best.figures[metric] if best.figures[metric] else 1.0
    return [
        f"{enough.dim} dims are enough: {enough.mode} reaches {metric} {enough.figures[metric]:.4f} there, "
        f"{share:.1%} of the best, {best.figures[metric]:.4f} at {best.dim}."
    ]


def _hybrid(rows: Sequence[Row], metric: str) -> list[str]:
    by_mode = {mode: [row for row in rows if row.mode == mode] for mode in ("dense", "lexical", "hybrid")}
    if not by_mode["hybrid"]:
        return []
    hybrid = max(by_mode["hybrid"], key=lambda row: row.figures[metric])
    alone = [row for mode in ("dense", "lexical") for row in by_mode[mode] if row.dim == hybrid.dim]
    if not alone:
        return []
    added = (f"{hybrid.figures[metric] - row.figures[metric]:+.4f} to {row.mode}" for row in alone)
    return [f"Hybrid adds {' and '.join(added)} in {metric} at {hybrid.dim} dims."]
