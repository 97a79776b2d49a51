"""One layer compiled by torch and used for all of them: the steps between the matrix products become few kernels.

Attention is one opaque operation to the compiler, and the lengths are a tensor, so that one graph serves every batch.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from qvec.embedders.attention import Attention

if TYPE_CHECKING:
    from torch import Tensor

    from qvec.embedders.packing import Packed

# Below, the host's calls take longer than what they save, and a query should not wait for a compiler.
LEAST_TOKENS = 1024
_logger = logging.getLogger(__name__)


class CompiledLayer:
    """A layer of a packed model, compiled when a batch is first large enough."""

    def __init__(self, layer: Callable[..., Any], attention: Attention, *, enabled: bool) -> None:
        """Take a layer.

        Args:
            layer: a function of weights, states, cosines and sines, and attention.
            attention: the attention to hand to it.
            enabled: compile at all.
        """
        self._plain = layer
        self._attention = attention
        self._enabled = enabled
        self._function: Callable[..., Tensor] | None = None

    def layer(self, packed: Packed, rope: tuple[Tensor, Tensor]) -> Callable[[Any, Tensor], Tensor] | None:
        """Return the compiled layer for a batch, or None where the plain one serves better or the only one is it."""
        if not self._enabled or len(packed.ids) < LEAST_TOKENS:
            return None
        if not can_compile(packed.ids.device.type):
            _logger.warning("torch cannot compile here: no C++ compiler (CPU) or Triton (CUDA); running uncompiled")
            self._enabled = False
            return None
        if self._function is None:
            self._function = self._compile()
        import torch

        function, lengths = self._function, torch.from_numpy(np.asarray(packed.lengths, dtype=np.int64))
        return lambda weights, x: function(weights, x, *rope, packed.starts, lengths)

    def _compile(self) -> Callable[..., Tensor]:
        import torch

        operator, plain, attention = _operator(), self._plain, self._attention
        name = type(attention).__name__

        def run(weights: Any, x: Tensor, cos: Tensor, sin: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
            result: Tensor = plain(weights, x, (cos, sin), lambda q, k, v: operator(q, k, v, starts, lengths, name))
            return result

        compiled: Callable[..., Tensor] = torch.compile(run, dynamic=True)
        return compiled


def can_compile(device: str) -> bool:
    """Tell whether torch finds what it compiles with: a C++ compiler for the CPU, Triton for CUDA."""
    if device == "cuda":
        return importlib.util.find_spec("triton") is not None
    return device == "cpu" and any(shutil.which(name) for name in ("g++", "c++", "clang++"))


@functools.cache
def _operator() -> Callable[..., Any]:
    import torch

    from qvec.embedders import attention as kinds

    # Annotations are read at run time here, so they have to be the classes themselves.
    def attend(q: Any, k: Any, v: Any, starts: Any, lengths: Any, kind: str) -> Any:
        chosen: Attention = getattr(kinds, kind)()
        return chosen.causal(q, k, v, starts, lengths.tolist())

    tensor, text = torch.Tensor, str
    attend.__annotations__ = dict.fromkeys(("q", "k", "v", "starts", "lengths", "return"), tensor) | {"kind": text}
    operator = torch.library.custom_op("qvec::packed_attention", attend, mutates_args=())
    operator.register_fake(lambda q, k, v, starts, lengths, kind: torch.empty_like(q))
    result: Callable[..., Any] = operator
    return result
