"""CUDA graphs for small batches: the host's hundreds of calls become one.

A graph is recorded for a number of tokens and of sequences; a smaller batch is filled up with sequences that are
thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qvec.embedders.packing import Packed

if TYPE_CHECKING:
    from torch import Tensor

_LEAST = 16
MOST_TOKENS = 512
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class _Recorded:
    graph: Any
    given: Packed
    result: Tensor


class Graphs:
    """Run small batches by recorded graphs."""

    def __init__(self, run: Callable[[Packed], Tensor]) -> None:
        """Take a function of a batch; on the device, with variable-length attention, it must not look at lengths."""
        self._run = run
        self._recorded: dict[tuple[int, int], _Recorded] = {}

    def __call__(self, packed: Packed) -> Tensor | None:
        """Return the rows of a batch, or None where it is too large for a graph."""
        size = bucket(packed)
        if size[0] > MOST_TOKENS or not packed.ids.is_cuda:
            return None
        filled = fill_up(packed, *size)
        if size not in self._recorded:
            self._recorded[size] = self._record(filled)
        recorded = self._recorded[size]
        for into, of in zip(_tensors(recorded.given), _tensors(filled), strict=True):
            into.copy_(of)
        recorded.graph.replay()
        return recorded.result[: len(packed.lengths)].clone()

    def _record(self, filled: Packed) -> _Recorded:
        import torch

        # The kernel takes the longest length for a bound; this one holds for every batch of the size.
        ids, positions, starts = (tensor.clone() for tensor in _tensors(filled))
        given = Packed(ids, positions, starts, [len(ids)])
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._run(given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self._run(given)
        return _Recorded(graph, given, result)


def bucket(packed: Packed) -> tuple[int, int]:
    """Return the tokens and sequences to fill a batch up to: powers of two, a sequence at least to spare."""
    sequences = 1 << len(packed.lengths).bit_length()
    needed = len(packed.ids) + sequences - len(packed.lengths)
    return max(_LEAST, 1 << (needed - 1).bit_length()), sequences


def fill_up(packed: Packed, tokens: int, sequences: int) -> Packed:
    """Add sequences of one token, and a last one of the rest, to a batch."""
    import torch

    spare = tokens - len(packed.ids)
    more = sequences - len(packed.lengths)
    lengths = [*packed.lengths, *([1] * (more - 1)), spare - more + 1]
    device = packed.ids.device
    places = torch.tensor(lengths[len(packed.lengths) :], device=device).cumsum(0) + len(packed.ids)
    positions = torch.zeros(spare, dtype=torch.int64, device=device)
    return Packed(
        ids=torch.cat([packed.ids, torch.zeros(spare, dtype=torch.int64, device=device)]),
        positions=torch.cat([packed.positions, positions]),
        starts=torch.cat([packed.starts, places.int()]),
        lengths=lengths,
    )


def _tensors(packed: Packed) -> tuple[Tensor, Tensor, Tensor]:
    return packed.ids, packed.positions, packed.starts
