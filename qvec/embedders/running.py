"""Many sequences through a forward: batches under a token budget, smaller ones when memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qvec.embedders.loading import free_bytes, is_out_of_memory
from qvec.errors import EmbeddingError

if TYPE_CHECKING:
    from torch import Tensor

    from qvec.embedders.forward import Forward

# The CPU's figure was measured; a GPU wants enough tokens at once to hide its host's work.
_MOST_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 65_536}
_LEAST_TOKENS = 256
_SHARE = 0.8
_logger = logging.getLogger(__name__)


class Runner:
    """Run a forward over any number of sequences.

    Attributes:
        budget: most tokens of a batch; halved, and left so, each time that memory does not suffice.
    """

    def __init__(self, forward: Forward, *, budget: int, model: str, device: Any) -> None:
        """Take a forward.

        Args:
            forward: it.
            budget: most tokens of a batch.
            model: its name, for messages.
            device: its torch device.
        """
        self.forward = forward
        self.budget = budget
        self._model = model
        self._device = device

    def __call__(
        self, sequences: Sequence[Sequence[int]], *, dim: int, shared: int = 0
    ) -> tuple[list[int], list[Tensor]]:
        """Embed sequences.

        Args:
            sequences: token ids, one or more in each.
            dim: components to keep.
            shared: leading tokens in which all of them agree.

        Returns:
            Positions in the order of computing, and in that order the rows, in parts, on the device.

        Raises:
            EmbeddingError: memory does not suffice for one sequence alone, or the device failed.
        """
        lengths = [len(sequence) for sequence in sequences]
        pending = self.forward.batches(lengths, self.budget)
        order: list[int] = []
        parts: list[Tensor] = []
        while pending:
            rows = self._try([sequences[at] for at in pending[0]], shared)
            if rows is not None:
                parts.append(rows[:, :dim])
                order += pending.pop(0)
                continue
            self._halve([lengths[at] for at in pending[0]])
            left = [at for batch in pending for at in batch]
            again = self.forward.batches([lengths[at] for at in left], self.budget)
            pending = [[left[at] for at in batch] for batch in again]
        return order, parts

    def _try(self, batch: Sequence[Sequence[int]], shared: int) -> Tensor | None:
        """Return a batch's rows, or None where memory does not suffice for it."""
        try:
            return self.forward(batch, shared=shared)
        except (RuntimeError, IndexError) as exc:
            if not is_out_of_memory(exc):
                raise EmbeddingError(f"{self._model} failed on {self._device}: {exc}") from exc
            if len(batch) == 1:
                raise EmbeddingError(
                    f"no memory on {self._device} for a text of {len(batch[0])} tokens: chunk it, or lower max_tokens"
                ) from exc
        return None

    def _halve(self, lengths: Sequence[int]) -> None:
        self.budget = max(1, min(self.budget, sum(lengths)) // 2)
        _logger.warning(
            "out of memory with %d texts on %s: halving the batch to %d tokens",
            len(lengths), self._device, self.budget,
        )  # fmt: skip
        if self._device.type == "cuda":
            import torch

            torch.cuda.empty_cache()


def choose_budget(config: Any, device: Any, dtype: Any) -> int:
    """Return how many tokens a batch may hold: as many as keep the device busy, if so many fit in free memory."""
    most = _MOST_TOKENS.get(device.type, _MOST_TOKENS["cpu"])
    free = free_bytes(device)
    if free is None:
        return most
    return max(_LEAST_TOKENS, min(most, int(free * _SHARE) // bytes_per_token(config, dtype.itemsize)))


def bytes_per_token(config: Any, itemsize: int) -> int:
    """Estimate what a token takes within a layer, its largest moment: states, projections, and float32 norms."""
    hidden = int(config.hidden_size)
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or hidden // heads)
    projected = (heads + 2 * int(getattr(config, "num_key_value_heads", None) or heads)) * width
    feed = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    return itemsize * (6 * hidden + 4 * projected + 4 * feed) + 4 * (2 * hidden + 2 * projected)
