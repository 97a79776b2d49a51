"""A one-layer Qwen3 with last-token pooling, written as the weighted bag of tokens that it is.

The last token is always the end mark, so the layer's only query vector is a constant: every token has one fixed
score and one fixed value a head, and attention is a weighted mean. Rotary positions are kept out by giving queries and
keys only the slowest channels of a base of 1e12, so that `qwen3_state` is the same function.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROPE_BASE = 1e12
CHANNELS = 8
EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Shape:
    """Say how large the model is."""

    vocabulary: int = 28_000
    width: int = 384
    heads: int = 12
    head_width: int = 32
    inner: int = 512

    def as_dict(self) -> dict[str, int]:
        """Give the numbers by name."""
        return asdict(self)


def rms(x: Tensor, weight: Tensor) -> Tensor:
    """Scale rows to a root mean square of one, as Qwen3's norms do."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


class Pool(torch.autograd.Function):
    """Sum table rows by text; its gradient is the same sum by token, several times faster than torch's own."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, place: Tensor, lengths: Tensor) -> Tensor:
        """Sum the rows at `place`, laid end to end by `lengths`."""
        ctx.save_for_backward(place, lengths)
        ctx.rows = len(table)
        return F.embedding_bag(place, table, F.pad(lengths.cumsum(0)[:-1], (1, 0)), mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Sum, for each row of the table, the gradients of the texts that used it."""
        place, lengths = ctx.saved_tensors
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=place.device), lengths)
        counts = torch.bincount(place, minlength=ctx.rows)
        starts = F.pad(counts.cumsum(0)[:-1], (1, 0))
        return F.embedding_bag(owner[torch.argsort(place)], gradients[0], starts, mode="sum"), None, None


class Bag(nn.Module):
    """Embed token lists: the one layer of a `transformers.Qwen3Model`.

    Two of its matrices are held simple because the embedding rows can take up what they would learn, and training is
    three times as fast: values are the normalised embeddings themselves, cut into heads, and keys use few channels.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, heads = shape.width, shape.heads
        self.embed = nn.Parameter(torch.randn(shape.vocabulary, width) * 0.05)
        self.input_norm = nn.Parameter(torch.ones(width))
        self.q = nn.Parameter(torch.randn(heads * CHANNELS, width) * 0.02)
        self.k = nn.Parameter(torch.randn(heads * CHANNELS, width) * 0.02)
        self.o = nn.Parameter(torch.eye(width) + 0.01 * torch.randn(width, width))
        self.q_norm = nn.Parameter(torch.full((CHANNELS,), 0.6))
        self.k_norm = nn.Parameter(torch.ones(CHANNELS))
        self.inner_norm = nn.Parameter(torch.ones(width))
        self.gate = nn.Parameter(torch.randn(shape.inner, width) * 0.02)
        self.up = nn.Parameter(torch.randn(shape.inner, width) * 0.02)
        self.down = nn.Parameter(torch.randn(width, shape.inner) * 0.005)
        self.norm = nn.Parameter(torch.ones(width))

    def scores(self, normed: Tensor) -> Tensor:
        """Score tokens for each head: ``(n, heads)``, before the exponential."""
        heads, head_width = self.shape.heads, self.shape.head_width
        end = rms(self.embed[:1], self.input_norm)
        query = _head_rms((end @ self.q.T).view(heads, CHANNELS), self.q_norm, head_width)
        keys = _head_rms((normed @ self.k.T).view(-1, heads, CHANNELS), self.k_norm, head_width)
        return (keys * query).sum(-1) * head_width**-0.5

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Embed token lists laid end to end, each with its end mark; rows are not yet of unit length."""
        heads, width = self.shape.heads, self.shape.width
        unique, place = torch.unique(ids, return_inverse=True)
        normed = rms(F.embedding(unique, self.embed), self.input_norm)
        weight = torch.exp(self.scores(normed).clamp(-12, 12))
        value = (normed.view(-1, heads, self.shape.head_width) * weight[:, :, None]).flatten(1)
        total: Tensor = Pool.apply(torch.cat([value, weight], 1), place, lengths)
        mean = (total[:, :width].view(-1, heads, self.shape.head_width) / total[:, width:, None]).flatten(1)
        x = self.embed[:1] + mean @ self.o.T
        inner = rms(x, self.inner_norm)
        x = x + (F.silu(inner @ self.gate.T) * (inner @ self.up.T)) @ self.down.T
        return rms(x, self.norm)

    def qwen3_state(self) -> dict[str, Tensor]:
        """Name the weights as `transformers.Qwen3Model` does."""
        layer, attention = "layers.0.", "layers.0.self_attn."
        places = self._places()
        named = {
            "embed_tokens.weight": self.embed,
            layer + "input_layernorm.weight": self.input_norm,
            layer + "post_attention_layernorm.weight": self.inner_norm,
            attention + "q_proj.weight": self._spread(self.q),
            attention + "k_proj.weight": self._spread(self.k),
            attention + "v_proj.weight": torch.eye(self.shape.width),
            attention + "o_proj.weight": self.o,
            attention + "q_norm.weight": torch.zeros(self.shape.head_width).index_put((places,), self.q_norm),
            attention + "k_norm.weight": torch.ones(self.shape.head_width).index_put((places,), self.k_norm),
            layer + "mlp.gate_proj.weight": self.gate,
            layer + "mlp.up_proj.weight": self.up,
            layer + "mlp.down_proj.weight": self.down,
            "norm.weight": self.norm,
        }
        return {name: tensor.detach().clone().float() for name, tensor in named.items()}

    def _places(self) -> Tensor:
        """Find the channels that rotary positions turn least: the last of each half of a head."""
        half = self.shape.head_width // 2
        slow = torch.arange(half - CHANNELS // 2, half)
        return torch.cat([slow, slow + half])

    def gathered(self, rows: Tensor) -> Tensor:
        """Take the used channels back out of a query or key matrix."""
        heads, head_width, width = self.shape.heads, self.shape.head_width, self.shape.width
        return rows.view(heads, head_width, width)[:, self._places()].reshape(heads * CHANNELS, width)

    def _spread(self, rows: Tensor) -> Tensor:
        heads, head_width, width = self.shape.heads, self.shape.head_width, self.shape.width
        whole = torch.zeros(heads, head_width, width)
        whole[:, self._places()] = rows.detach().view(heads, CHANNELS, width)
        return whole.view(heads * head_width, width)


def _head_rms(x: Tensor, weight: Tensor, head_width: int) -> Tensor:
    """Norm a head of which all channels but these are zero."""
    return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) / head_width + EPS) * weight
