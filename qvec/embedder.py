"""What turns text into vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from qvec.types import Vectors


@runtime_checkable
class Embedder(Protocol):
    """A model. Inherit from it, so that a missing method fails when the object is made.

    Attributes:
        model_id: the name that loads it again through `qvec.registry.load_embedder`.
        revision: fingerprint of the weights.
        dim: width of the vectors that it returns, after the cut.
        max_tokens: longest text, in tokens of `count_tokens`.
        pooling: ``"last"``, ``"mean"``, ``"cls"`` or the like.
        prompt_digest: hash of the query and document templates.
    """

    model_id: str
    revision: str
    dim: int
    max_tokens: int
    pooling: str
    prompt_digest: str

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as `encode_document` would use them, special tokens included."""

    @abstractmethod
    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents.

        Args:
            texts: any strings; newlines and indentation count.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            TextTooLongError: a text is over `max_tokens`.
            EmbeddingError: a text cannot be embedded.
        """

    @abstractmethod
    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Embed queries with an instruction (a preset's name or a sentence); None takes the model's default.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length.

        Raises:
            TextTooLongError: a query is over `max_tokens`.
            EmbeddingError: a text cannot be embedded.
        """
