"""What reads a query and a document together and says how well the one answers the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

OUT_OF_TIME = "not scored: out of time"
"""The note of a document for which there was no time."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """How well one document answers the query.

    Attributes:
        score: larger is better, 0 to 1 for all models known here; None when the document was not scored.
        note: why it was not scored, or what of it was not read; empty when it was read whole.
    """

    score: float | None
    note: str = ""


@runtime_checkable
class Reranker(Protocol):
    """A model that scores pairs. Inherit from it, so that a missing method fails when the object is made.

    Attributes:
        model_id: the name that loads it again through `qvec.registry.load_reranker`.
        max_tokens: longest pair, template included, in tokens of `count_tokens`.
        takes_instructions: whether an instruction changes its scores.
    """

    model_id: str
    max_tokens: int
    takes_instructions: bool

    @abstractmethod
    def count_tokens(self, query: str, texts: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Count the tokens that scoring each document would read: template and query included, cut to `max_tokens`."""

    @abstractmethod
    def score(
        self, query: str, texts: Sequence[str], *, instruction: str | None = None, seconds: float | None = None
    ) -> list[Relevance]:
        """Score documents against one query.

        A document that is too long is cut at its end, and its note says so.

        Args:
            query: the query.
            texts: the documents, the likeliest first: they are scored in this order.
            instruction: a preset's name or a sentence; None takes the model's default.
            seconds: when they have passed nothing more is begun, and what is left comes back without a score.

        Returns:
            One relevance for each text, in the order of `texts`.

        Raises:
            InvalidInputError: the model takes no instruction, or this one names nothing.
            TextTooLongError: the query alone is over `max_tokens`.
            EmbeddingError: a text cannot be read, or the model failed.
            EndpointError: the server gave no scores.
        """
