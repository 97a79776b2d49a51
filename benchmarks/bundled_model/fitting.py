"""Look anew for the numbers by which the keyword leg's scores are weighed, from the answers that ``weights`` kept.

The worth of a weight is what the fusion gains over the better leg, on average over the sets; falling below that leg by
more than `SLACK` costs `PENALTY` times as much, so that no set pays for the others. A set is taken by kind of query,
and a large one in parts, because queries of one source stand together. Small collections count less and may fall
deeper: their queries are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.bundled_model import legs
from qvec.evidence import Evidence
from qvec.lexical_weight import SCORES, QueryKind, query_kind

Numbers: TypeAlias = NDArray[np.float64]
Hits: TypeAlias = Sequence[tuple[int, float]]

KINDS = (QueryKind.CHINESE, QueryKind.ENGLISH, QueryKind.EUROPEAN)
NAMES = ("base", "lead", "points", "drop")
FIRST = {"base": (-4.0, 1.5), "lead": (0.0, 4.0), "points": (0.0, 0.1), "drop": (0.0, 8.0)}
GRID = np.exp(np.linspace(np.log(0.0003), np.log(0.3), 25))
DISCOUNTS = 1 / np.log2(np.arange(2, 12))
SLACK, PENALTY, STEEP = 0.004, 10.0, 0.009
SMALL_SLACK, SMALL_SHARE = 0.056, 0.2
FEWEST, PIECE = 20, 300
STARTS, STEPS = 6, 700
FAMILIES = {"pyhow_zh_sig": "pyhow_zh", "pyapi_zh_sig": "pyapi_zh", "pyapi_zh_sig_held": "pyapi_zh"}
FAMILIES |= {"cosqa_nodoc": "cosqa"}


@dataclass(frozen=True, slots=True)
class Part:
    """Hold what a set's queries of one kind need: for each query what the evidence reads, and nDCG@10 by weight."""

    name: str
    seen: bool
    read: Numbers
    worths: Numbers
    alone: Numbers

    @property
    def small(self) -> bool:
        """Whether it asks small collections."""
        return self.name.startswith("small:")

    @property
    def family(self) -> str:
        """Name what it shares documents with."""
        own = self.name.removeprefix("small:").split("/")[0].split("#")[0]
        return FAMILIES.get(own, own)

    def cut(self, rows: slice | NDArray[np.int64], name: str = "") -> Part:
        """Keep some of its queries."""
        return replace(
            self, name=name or self.name, read=self.read[rows], worths=self.worths[rows], alone=self.alone[rows]
        )


def search_weights() -> None:
    """Print the best numbers for each kind of query, and what such numbers do on what they were not fitted to."""
    kept = legs.kept()
    for kind in KINDS:
        parts = list(_parts(kept, kind, NAMES))
        seen = [part for part in parts if part.seen]
        found = fit(seen, NAMES)
        print(f"{kind} rank={SCORES[kind].rank}", dict(zip(NAMES, found.round(3).tolist(), strict=True)))
        _tell("the sets it was fitted to", seen, gains(seen, found))
        if unseen := [part for part in parts if not part.seen]:
            _tell("sets it never saw", unseen, gains(unseen, found))
        now = np.array([getattr(SCORES[kind], name) for name in NAMES])
        _tell("the numbers in use, on all", parts, gains(parts, now))
        _tell("fitted to one half, on the other", seen, _halves(seen, NAMES))
        _tell("fitted without a set's family, on it", seen, _left_out(seen, NAMES))


def gains(parts: Sequence[Part], numbers: Numbers) -> Numbers:
    """Return by how much the fusion is above the better leg on each part, read off between the weights tried."""
    step = np.log(GRID[1] / GRID[0])
    found = []
    for part in parts:
        power = np.clip(part.read @ numbers, np.log(GRID[0]), np.log(GRID[-1]))
        at = np.clip((power - np.log(GRID[0])) / step, 0, len(GRID) - 1)
        low, rows = np.minimum(at.astype(int), len(GRID) - 2), np.arange(len(at))
        worth = part.worths[rows, low] * (low + 1 - at) + part.worths[rows, low + 1] * (at - low)
        found.append(worth.mean() - part.alone.mean(axis=0).max())
    return np.array(found)


def fit(parts: Sequence[Part], names: Sequence[str], *, starts: int = STARTS, steps: int = STEPS) -> Numbers:
    """Climb from several starts by random steps, which grow while they succeed.

    Returns:
        The best numbers found, in the order of their names.
    """
    rng = np.random.default_rng(0)
    middle, spread = np.array([FIRST[name] for name in names]).T
    best: tuple[float, Numbers] = (-np.inf, middle)
    for _ in range(starts):
        here = middle + spread * rng.normal(size=len(names))
        worth, length = _worth(parts, here), 1.0
        for _ in range(steps):
            there = here + length * spread * rng.normal(size=len(names)) * (rng.random(len(names)) < 0.6)
            other = _worth(parts, there)
            length = min(1.0, length * 1.4) if other > worth else max(0.01, length * 0.96)
            if other > worth:
                here, worth = there, other
        best = max(best, (worth, here), key=lambda each: each[0])
    return best[1]


def _worth(parts: Sequence[Part], numbers: Numbers) -> float:
    gained = gains(parts, numbers)
    small = np.array([part.small for part in parts])
    slack = np.where(small, SMALL_SLACK, 0.0)
    below = np.minimum(0, gained + slack + SLACK) + 2 * np.minimum(0, gained + slack + STEEP)
    return float(np.average(gained + PENALTY * below, weights=np.where(small, SMALL_SHARE, 1.0)))


def _halves(parts: Sequence[Part], names: Sequence[str]) -> Numbers:
    halves = [[part.cut(slice(half, None, 2)) for part in parts] for half in (0, 1)]
    told = [gains(other, fit(one, names)) for one, other in (halves, halves[::-1])]
    return np.asarray(np.mean(told, axis=0))


def _left_out(parts: Sequence[Part], names: Sequence[str]) -> Numbers:
    without = {
        family: fit([part for part in parts if part.family != family], names, starts=3, steps=400)
        for family in {part.family for part in parts}
    }
    return np.array([gains([part], without[part.family])[0] for part in parts])


def _tell(what: str, parts: Sequence[Part], gained: Numbers) -> None:
    mean = np.mean([gain for part, gain in zip(parts, gained, strict=True) if not part.small])
    worst = ", ".join(f"{parts[at].name} {gained[at]:+.4f}" for at in np.argsort(gained)[:6])
    print(f"  {what}: mean {mean:+.4f}; worst {worst}", flush=True)


def _parts(kept: Sequence[legs.Legs], kind: QueryKind, names: Sequence[str]) -> Iterator[Part]:
    for answered in kept:
        queries = answered.task.queries
        asked = [at for at, query in enumerate(queries) if SCORES.get(query_kind(query)) == SCORES[kind]]
        if len(asked) < max(FEWEST, len(queries) // 10):
            continue
        part = _part(answered, asked, SCORES[kind], names)
        pieces = max(1, round(len(asked) / PIECE))
        for number, rows in enumerate(np.array_split(np.arange(len(asked)), pieces)):
            yield part.cut(rows, f"{part.name}#{number}" if pieces > 1 else "")


def _part(answered: legs.Legs, asked: Sequence[int], evidence: Evidence, names: Sequence[str]) -> Part:
    dense, lexical = ([run[at] for at in asked] for run in (answered.dense, answered.lexical))
    relevant = [answered.task.relevant[at] for at in asked]
    read = [_read(words, near, evidence, names) for words, near in zip(lexical, dense, strict=True)]
    worths = [by_weight(*each) for each in zip(lexical, dense, relevant, strict=True)]
    alone = [[_ndcg(hits, own) for hits, own in zip(run, relevant, strict=True)] for run in (dense, lexical)]
    return Part(answered.task.name, answered.seen, np.array(read), np.array(worths), np.array(alone).T)


def by_weight(words: Hits, near: Hits, grades: Mapping[int, int]) -> Numbers:
    """Return the nDCG@10 of the sum of scores by each weight of `GRID`; a tenth of the time of `qvec.fusion`."""
    ids = sorted({id for id, _ in [*words, *near]})
    place = {id: at for at, id in enumerate(ids)}
    dense, lexical = np.zeros(len(ids)), np.zeros(len(ids))
    for id, score in near:
        dense[place[id]] = score - near[-1][1]
    for id, score in words:
        lexical[place[id]] = score
    order = np.argsort(-(dense + GRID[:, None] * lexical), axis=1, kind="stable")[:, :10]
    graded = np.array([max(0, grades.get(id, 0)) for id in ids], float)[order]
    return np.asarray(graded @ DISCOUNTS[: order.shape[1]] / _ideal(grades))


def _ndcg(hits: Hits, grades: Mapping[int, int]) -> float:
    graded = np.array([max(0, grades.get(id, 0)) for id, _ in hits[:10]], float)
    return float(graded @ DISCOUNTS[: len(graded)] / _ideal(grades))


def _ideal(grades: Mapping[int, int]) -> float:
    best = sorted((max(0, grade) for grade in grades.values()), reverse=True)[:10]
    return float(np.array(best, float) @ DISCOUNTS[: len(best)]) or 1.0


def _read(words: Hits, near: Hits, evidence: Evidence, names: Sequence[str]) -> list[float]:
    """Ask `Evidence` itself what it makes of the answers: its power with each number at one, the others at zero."""
    found = []
    for name in names:
        probe = Evidence(**{"base": 0.0, name: 0.01}, rank=evidence.rank, least=1e-9, most=1e9)
        found.append(100 * float(np.log(probe.weight([score for _, score in words], [score for _, score in near]))))
    return found
