"""A stand-in for a model in tests: no weights, no download, no meaning beyond shared keywords."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from qvec.embedder import Embedder
from qvec.embedders.inputs import check_lengths, check_texts
from qvec.errors import ConfigError
from qvec.lexical import LEXICAL_VERSION, term_frequencies, tokens
from qvec.types import Vectors

_EMPTY = "\0"


class HashingEmbedder(Embedder):
    """Embed by hashing keywords into a bag. For tests only: it knows words, not meaning.

    The same text gives the same vector on every machine and in every run; texts that share keywords are close. Queries
    and documents are embedded alike, and an instruction changes nothing.
    """

    def __init__(self, *, dim: int | None = None, max_tokens: int = 1_000_000) -> None:
        """Make it.

        Args:
            dim: width of the vectors; None takes 256.
            max_tokens: longest text, in keywords; a small one tries out what callers do with long texts.

        Raises:
            ConfigError: `dim` or `max_tokens` is below 1.
        """
        if (dim is not None and dim < 1) or max_tokens < 1:
            raise ConfigError(f"dim={dim}, max_tokens={max_tokens}: both start at 1")
        self.model_id = "hashing"
        self.revision = f"1-{LEXICAL_VERSION}"
        self.dim = 256 if dim is None else dim
        self.max_tokens = max_tokens
        self.pooling = "bag"
        self.prompt_digest = ""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's keywords."""
        return [len(tokens(text)) for text in check_texts(texts)]

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Hash documents; a text without keywords gets a fixed row.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            TextTooLongError: a text has more than `max_tokens` keywords.
            EmbeddingError: a text is no string, or no UTF-8 can hold it.
        """
        checked = check_texts(texts)
        check_lengths(self.count_tokens(checked), self.max_tokens)
        rows = np.zeros((len(checked), self.dim), dtype=np.float32)
        for row, text in zip(rows, checked, strict=True):
            for token, count in (term_frequencies(text) or {_EMPTY: 1}).items():
                place, sign = self._slot(token)
                row[place] += sign * count**0.5
            if not row.any():
                row[self._slot(_EMPTY)[0]] = 1.0
            row /= np.linalg.norm(row)
        return rows

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Hash queries just as documents; the instruction is not used.

        Raises:
            TextTooLongError: a query has more than `max_tokens` keywords.
            EmbeddingError: a text is no string, or no UTF-8 can hold it.
        """
        return self.encode_document(texts)

    def _slot(self, token: str) -> tuple[int, float]:
        digest = hashlib.blake2b(token.encode(), digest_size=9).digest()
        return int.from_bytes(digest[:8], "little") % self.dim, 1.0 if digest[8] & 1 else -1.0
