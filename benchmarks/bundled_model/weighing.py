"""Measure what the keyword leg's weight by evidence reaches on prose and code."""

from __future__ import annotations

from benchmarks import report
from benchmarks.bundled_model import legs
from benchmarks.bundled_model.evaluation import fused_run, measure
from benchmarks.bundled_model.places import RESULTS
from qvec.fusion import FusionSpec
from qvec.lexical_weight import weighed


def measure_weights() -> None:
    """Write a row for each set: both legs, and their fusion by scores as a search does it, by ranks, and unweighed."""
    for answered in legs.ask():
        row: dict[str, object] = {
            "set": answered.task.name,
            "seen": answered.seen,
            "documents": answered.documents,
            "queries": len(answered.task.queries),
            "dense": measure(answered.task, answered.dense)["ndcg@10"],
            "lexical": measure(answered.task, answered.lexical)["ndcg@10"],
            "even": _fused(answered, ranks=True, weighs=False),
            "ranks": _fused(answered, ranks=True, weighs=True),
            "hybrid": _fused(answered, ranks=False, weighs=True),
        }
        report.write("weights", [row], seed=0, out=RESULTS)
        print(row, flush=True)


def _fused(answered: legs.Legs, *, ranks: bool, weighs: bool) -> float:
    def how(query: str) -> FusionSpec:
        return weighed(FusionSpec(), query, free=not ranks) if weighs else FusionSpec()

    return measure(answered.task, fused_run(answered.task, answered.dense, answered.lexical, how))["ndcg@10"]
