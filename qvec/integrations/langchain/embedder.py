"""Any LangChain embedding model as an embedder of qvec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from qvec.checks import check_vectors
from qvec.embedder import Embedder
from qvec.errors import EmbeddingError, InvalidInputError
from qvec.integrations.langchain.embeddings import QvecEmbeddings
from qvec.types import Vectors

_PROBE = "dim"
_NAMES = ("model", "model_name", "model_id", "deployment")
_NO_WINDOW = 2**31


class LangChainEmbedder(Embedder):
    """Embed with a LangChain model; its vectors are brought to unit length.

    What the model does with a text that is over its window is the model's affair: LangChain does not tell windows.
    """

    pooling = ""
    prompt_digest = ""
    revision = ""
    max_tokens = _NO_WINDOW

    def __init__(self, embeddings: Embeddings, *, dim: int | None = None) -> None:
        """Take a model.

        Args:
            embeddings: any LangChain embedding model.
            dim: of its vectors; None asks it for one.
        """
        self.embeddings = embeddings
        self.model_id = _name(embeddings)
        self.dim = len(embeddings.embed_query(_PROBE)) if dim is None else dim

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count bytes, of which no tokenizer makes more tokens."""
        return [len(text.encode()) for text in texts]

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents.

        Raises:
            EmbeddingError: the model returned vectors of another number or size, or not of numbers.
        """
        return self._rows(self.embeddings.embed_documents(list(texts)), len(texts)) if texts else self._rows([], 0)

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Embed queries.

        Raises:
            EmbeddingError: as of `encode_document`, or an instruction, which a LangChain model cannot be given.
        """
        if instruction is not None:
            raise EmbeddingError(f"{self.model_id} takes no instruction: set it where the model is made")
        return self._rows([self.embeddings.embed_query(text) for text in texts], len(texts))

    def _rows(self, found: Any, count: int) -> Vectors:
        if not count:
            return np.empty((0, self.dim), np.float32)
        try:
            rows = check_vectors(found, self.dim)
        except InvalidInputError as exc:
            raise EmbeddingError(f"{self.model_id}: {exc}") from exc
        if len(rows) != count:
            raise EmbeddingError(f"{self.model_id} made {len(rows)} vectors of {count} texts")
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
        return np.asarray(rows / np.where(lengths == 0, 1, lengths), np.float32)


def as_embedder(model: Embeddings | Embedder) -> Embedder:
    """Make a LangChain model an embedder; what is one is handed back."""
    if isinstance(model, QvecEmbeddings):
        inner: Embedder = model.embedder
        return inner
    return model if isinstance(model, Embedder) else LangChainEmbedder(model)


def _name(embeddings: Embeddings) -> str:
    # No slash: that would read as a name on the Hugging Face hub.
    named = (getattr(embeddings, attribute, None) for attribute in _NAMES)
    name = next((found for found in named if isinstance(found, str) and found), "")
    return ":".join(["langchain", type(embeddings).__name__, *filter(None, name.split("/"))])
