"""Sequences end to end in one row, without padding: where each begins, and which go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as one row.

    Attributes:
        ids: token ids, int64 ``(tokens,)``.
        positions: each token's place in its own sequence, int64 ``(tokens,)``.
        starts: where each sequence begins, and at the end the number of tokens, int32 ``(sequences + 1,)``.
        lengths: tokens of each sequence, on the host.
    """

    ids: Tensor
    positions: Tensor
    starts: Tensor
    lengths: list[int]

    @property
    def last(self) -> Tensor:
        """Where each sequence's last token is, int64 ``(sequences,)``."""
        return self.starts[1:].long() - 1


def pack(sequences: Sequence[Sequence[int]], device: Any, *, skip: int = 0, pinned: bool = True) -> Packed:
    """Lay sequences end to end.

    Args:
        sequences: token ids, more than `skip` in each.
        device: the torch device to put them on.
        skip: leading tokens to leave out; positions go on as if they were there.
        pinned: copy to a GPU from pinned memory, without waiting for it.
    """
    import torch

    lengths = np.fromiter((len(sequence) - skip for sequence in sequences), dtype=np.int64, count=len(sequences))
    starts = np.concatenate([[0], lengths.cumsum()])
    tokens = int(starts[-1])
    # One buffer, so that a GPU gets it in one copy.
    buffer = np.empty(2 * tokens + len(starts), dtype=np.int64)
    kept = (sequence[skip:] for sequence in sequences) if skip else sequences
    buffer[:tokens] = np.fromiter(chain.from_iterable(kept), dtype=np.int64, count=tokens)
    buffer[tokens : 2 * tokens] = np.arange(skip, skip + tokens) - np.repeat(starts[:-1], lengths)
    buffer[2 * tokens :] = starts
    held = torch.from_numpy(buffer)
    if device.type == "cuda" and pinned:
        held = held.pin_memory()
    held = held.to(device, non_blocking=pinned)
    ids, positions, bounds = held.split([tokens, tokens, len(starts)])
    return Packed(ids, positions, bounds.int(), lengths.tolist())


def packed_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut texts into batches by their tokens.

    Args:
        lengths: tokens of each text.
        budget: most tokens of a batch; a longer text is a batch of its own.

    Returns:
        Positions, longest text first, so that a lack of memory shows at once and equal lengths are neighbours.
    """
    batches: list[list[int]] = []
    held = budget
    for position in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        held += lengths[position]
        if held > budget:
            batches.append([])
            held = lengths[position]
        batches[-1].append(position)
    return batches
