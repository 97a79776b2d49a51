"""How much the keyword leg counts, read off what both legs answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qvec.errors import InvalidInputError

DENSE_RANK = 100
"""Against which of its own hits the dense leg's first one is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A weight for the keyword leg that grows where its first hit stands out, and falls where the dense leg's does.

    With S and D the scores of the keyword and the dense leg at a rank, or at the last one where there are fewer (S is
    0 then), the weight's natural logarithm is ``base + lead (S1 - Sr) / S1 + points (S1 - Sr) - drop (D1 - D100)``,
    kept within the logarithms of `least` and `most`.

    Attributes:
        base: where neither leg's first hit stands out.
        lead: for the first keyword hit's lead over that of `rank` as a share of its score.
        points: for each point of BM25 in that lead.
        drop: for the loss of similarity down to the hundredth dense hit.
        least: the smallest weight.
        most: the largest; 100 gives the order of the keyword leg.
        rank: r, against which of its own hits the keyword leg's first one is held.
    """

    base: float
    lead: float = 0.0
    points: float = 0.0
    drop: float = 0.0
    least: float = 0.01
    most: float = 100.0
    rank: int = 5

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.base, self.lead, self.points, self.drop, self.most))):
            raise InvalidInputError(f"{self!r}: takes finite numbers")
        if not 0 < self.least <= self.most:
            raise InvalidInputError(f"a weight from {self.least!r} to {self.most!r}: takes 0 < least <= most")
        if self.rank < 2:
            raise InvalidInputError(f"rank={self.rank!r}: takes a whole number from 2 on")

    def weight(self, lexical: Sequence[float], dense: Sequence[float]) -> float:
        """Weigh the keyword leg of one answer.

        Args:
            lexical: that leg's scores, best first; those after `rank` change nothing.
            dense: the dense leg's, best first; those after the hundredth change nothing.
        """
        ahead = lexical[0] - (lexical[self.rank - 1] if len(lexical) >= self.rank else 0.0) if lexical else 0.0
        share = ahead / lexical[0] if lexical and lexical[0] else 0.0
        fall = dense[0] - dense[:DENSE_RANK][-1] if dense else 0.0
        power = self.base + self.lead * share + self.points * ahead - self.drop * fall
        return math.exp(min(math.log(self.most), max(math.log(self.least), power)))
