"""A one-layer Qwen3 with last-token pooling, written as the weighted bag of tokens that it is.

The last token is always the end mark, so the layer's only query vector is a constant: every token has one fixed
score and one fixed value a head, and attention is a weighted mean. Rotary positions are kept out by giving the query
no component in the fast-turning channels and the slow ones a base of 1e12, so `qwen3_state` is the same function.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROPE_BASE = 1e12
EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Shape:
    """Say how large the model is."""

    vocabulary: int = 32_000
    width: int = 256
    heads: int = 4
    head_width: int = 64
    inner: int = 1024

    def as_dict(self) -> dict[str, int]:
        """Give the numbers by name."""
        return asdict(self)


def rms(x: Tensor, weight: Tensor) -> Tensor:
    """Scale rows to a root mean square of one, as Qwen3's norms do."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


class Bag(nn.Module):
    """Embed token lists; parameters bear the names of `transformers.Qwen3Model`'s only layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, heads, head_width = shape.width, shape.heads, shape.head_width
        self.embed = nn.Parameter(torch.randn(shape.vocabulary, width) * 0.05)
        self.input_norm = nn.Parameter(torch.ones(width))
        self.q = nn.Parameter(torch.randn(heads * head_width, width) * 0.02)
        self.k = nn.Parameter(torch.randn(heads * head_width, width) * 0.02)
        self.v = nn.Parameter(_near_identity(heads * head_width, width))
        self.o = nn.Parameter(_near_identity(width, heads * head_width))
        self.q_norm = nn.Parameter(torch.full((head_width,), 0.6))
        self.k_norm = nn.Parameter(torch.ones(head_width))
        self.inner_norm = nn.Parameter(torch.ones(width))
        self.gate = nn.Parameter(torch.randn(shape.inner, width) * 0.02)
        self.up = nn.Parameter(torch.randn(shape.inner, width) * 0.02)
        self.down = nn.Parameter(torch.randn(width, shape.inner) * 0.005)
        self.norm = nn.Parameter(torch.ones(width))
        # Channel i of a head turns by base^(-2i/head_width) a token, paired with channel i + head_width/2.
        still = torch.ones(head_width)
        still[: head_width // 4] = 0
        still[head_width // 2 : head_width // 2 + head_width // 4] = 0
        self.register_buffer("still", still, persistent=False)

    def scores(self, normed: Tensor) -> Tensor:
        """Score tokens for each head: ``(n, heads)``, before the exponential."""
        heads, head_width = self.shape.heads, self.shape.head_width
        end = rms(self.embed[:1], self.input_norm)
        query = rms((end @ self.q.T).view(heads, head_width), self.q_norm * self.still)
        keys = rms((normed @ self.k.T).view(-1, heads, head_width), self.k_norm)
        return (keys * query).sum(-1) * head_width**-0.5

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Embed token lists laid end to end, each with its end mark; rows are not yet of unit length."""
        unique, place = torch.unique(ids, return_inverse=True)
        normed = rms(F.embedding(unique, self.embed), self.input_norm)
        weight = torch.exp(self.scores(normed).clamp(-12, 12))
        value = (normed @ self.v.T).view(-1, self.shape.heads, self.shape.head_width) * weight[:, :, None]
        starts = F.pad(lengths.cumsum(0)[:-1], (1, 0))
        together = torch.cat([value.flatten(1), weight], 1)
        total = F.embedding_bag(place, together, starts, mode="sum")
        cut = self.shape.heads * self.shape.head_width
        mean = total[:, :cut].view(-1, self.shape.heads, self.shape.head_width) / total[:, cut:, None]
        x = self.embed[:1] + mean.flatten(1) @ self.o.T
        inner = rms(x, self.inner_norm)
        x = x + (F.silu(inner @ self.gate.T) * (inner @ self.up.T)) @ self.down.T
        return rms(x, self.norm)

    def qwen3_state(self) -> dict[str, Tensor]:
        """Name the weights as `transformers.Qwen3Model` does."""
        layer, attention = "layers.0.", "layers.0.self_attn."
        named = {
            "embed_tokens.weight": self.embed,
            layer + "input_layernorm.weight": self.input_norm,
            layer + "post_attention_layernorm.weight": self.inner_norm,
            attention + "q_proj.weight": self.q,
            attention + "k_proj.weight": self.k,
            attention + "v_proj.weight": self.v,
            attention + "o_proj.weight": self.o,
            attention + "q_norm.weight": self.q_norm * self.still,
            attention + "k_norm.weight": self.k_norm,
            layer + "mlp.gate_proj.weight": self.gate,
            layer + "mlp.up_proj.weight": self.up,
            layer + "mlp.down_proj.weight": self.down,
            "norm.weight": self.norm,
        }
        return {name: tensor.detach().clone().float() for name, tensor in named.items()}


def _near_identity(rows: int, columns: int) -> Tensor:
    return torch.eye(rows, columns) + 0.01 * torch.randn(rows, columns)
