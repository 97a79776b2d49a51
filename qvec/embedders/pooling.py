"""One vector for a text from the hidden states of its tokens.

Hidden states come as ``(n, tokens, width)`` with a mask ``(n, tokens)`` of ones and zeros. Padding may lie on either
side. Sums run in float32, whatever the hidden states are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Pool: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


def last(hidden: Tensor, mask: Tensor) -> Tensor:
    """Take the last token that is no padding, in float32 ``(n, width)``."""
    from_the_end = mask.flip(1).argmax(dim=1)
    return _pick(hidden, mask.shape[1] - 1 - from_the_end)


def first(hidden: Tensor, mask: Tensor) -> Tensor:
    """Take the first token that is no padding, BERT's ``[CLS]``, in float32 ``(n, width)``."""
    return _pick(hidden, mask.argmax(dim=1))


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Average the tokens that are no padding, in float32 ``(n, width)``."""
    weights = mask.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)


def maximum(hidden: Tensor, mask: Tensor) -> Tensor:
    """Take each component's largest value over the tokens that are no padding, in float32 ``(n, width)``."""
    return hidden.float().masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)


def _pick(hidden: Tensor, positions: Tensor) -> Tensor:
    at = positions.view(-1, 1, 1).expand(-1, 1, hidden.shape[2])
    return hidden.gather(1, at).squeeze(1).float()


POOLINGS: Mapping[str, Pool] = MappingProxyType({"last": last, "cls": first, "mean": mean, "max": maximum})
