"""Token ids to one vector each: the padded forward, and the cutting of many texts into batches for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from qvec.embedders.pooling import Pool


class Forward(Protocol):
    """Run a model over one batch. Whatever does so, with padding or without, can stand behind `TransformerEmbedder`."""

    @abstractmethod
    def __call__(self, sequences: Sequence[Sequence[int]], *, shared: int = 0) -> Tensor:
        """Return each sequence's pooled hidden state, float32 ``(len(sequences), width)``, on the model's device.

        Args:
            sequences: token ids, one or more in each.
            shared: leading tokens in which all sequences are known to agree; they may be computed once.
        """

    @abstractmethod
    def batches(self, lengths: Sequence[int], budget: int) -> list[list[int]]:
        """Cut texts of these lengths into batches that cost at most `budget` tokens each; a longer text goes alone.

        Returns:
            Positions, longest text first, so that a lack of memory shows at once.
        """

    @abstractmethod
    def cost(self, lengths: Sequence[int]) -> int:
        """Count the tokens that a batch of these lengths computes, padding included."""


class PaddedForward(Forward):
    """Run a transformers model over sequences padded on the right."""

    def __init__(self, model: Any, pool: Pool, *, pad: int, causal: bool) -> None:
        """Take a loaded model.

        Args:
            model: a transformers model, on its device.
            pool: hidden states and mask to vectors.
            pad: the padding id.
            causal: no token sees a later one; padding on the right is then never seen, and attention needs no mask,
                which lets torch take its fast kernels.
        """
        self._model = model
        self._pool = pool
        self._pad = pad
        self._causal = causal

    def __call__(self, sequences: Sequence[Sequence[int]], *, shared: int = 0) -> Tensor:
        """Return each sequence's pooled hidden state, float32 ``(len(sequences), width)``, on the model's device."""
        import torch

        lengths = [len(sequence) for sequence in sequences]
        ids = np.full((len(sequences), max(lengths)), self._pad, dtype=np.int64)
        for row, sequence in zip(ids, sequences, strict=True):
            row[: len(sequence)] = sequence
        mask = np.arange(ids.shape[1]) < np.asarray(lengths)[:, None]
        device = self._model.device
        with torch.inference_mode():
            seen = torch.from_numpy(mask.astype(np.int64)).to(device)
            attended = None if self._causal or mask.all() else seen
            hidden = self._model(input_ids=torch.from_numpy(ids).to(device), attention_mask=attended).last_hidden_state
            return self._pool(hidden, seen)

    def batches(self, lengths: Sequence[int], budget: int) -> list[list[int]]:
        """Cut texts into batches of at most `budget` tokens, padding included, longest text first."""
        return token_batches(lengths, budget)

    def cost(self, lengths: Sequence[int]) -> int:
        """Count the tokens that a batch of these lengths computes, padding included."""
        return max(lengths) * len(lengths)


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut texts into batches by what they cost after padding.

    Args:
        lengths: tokens of each text.
        budget: most tokens of a batch, padding included; a longer text is a batch of its own.

    Returns:
        Positions, longest text first, so that little is padding and a lack of memory shows at once.
    """
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches
