"""A one-layer Qwen3 with last-token pooling, written as the weighted bag of tokens that it is.

The last token is always the end mark, so the layer's only query vector is a constant: every token has one fixed
score and one fixed value a head, and attention is a weighted mean. Of the rotary positions one pair of channels is
used, which turns so slowly that what it adds to a score grows in proportion to the distance from the end (`Shape`): the
mean then counts a text's first tokens most, where a function has its name and an entry its heading. All else is put
into channels that turn by less than can be seen, so that `qwen3_state` is the same function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROPE_BASE = 1e12
EPS = 1e-6
# The pair of channels (of a head's sixteen) that turns by 5.6e-6 a token, and the one that turns least.
PLACE, STILL = 7, 15
_SLACK = 14
_SMALL = 1e-4


@dataclass(frozen=True, slots=True)
class Shape:
    """Say how large the model is.

    Attributes:
        slopes: by how much a token's score falls for each token before it; the heads share them out evenly.
    """

    vocabulary: int = 28_000
    width: int = 384
    heads: int = 12
    head_width: int = 32
    inner: int = 512
    slopes: tuple[float, ...] = (0.0, 0.04, 0.08, 0.12)

    @property
    def of_heads(self) -> Tensor:
        """Give each head its slope: ``(heads,)``."""
        return torch.tensor(self.slopes).repeat_interleave(self.heads // len(self.slopes))


def rms(x: Tensor, weight: Tensor) -> Tensor:
    """Scale rows to a root mean square of one, as Qwen3's norms do."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


class Pool(torch.autograd.Function):
    """Sum weighted table rows by text; its gradient is the same sum by token, several times faster than torch's own."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, place: Tensor, lengths: Tensor, shares: Tensor) -> Tensor:
        """Sum the rows at `place`, laid end to end by `lengths`, each times its share."""
        ctx.save_for_backward(place, lengths, shares)
        ctx.rows = len(table)
        starts = F.pad(lengths.cumsum(0)[:-1], (1, 0))
        return F.embedding_bag(place, table, starts, mode="sum", per_sample_weights=shares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Sum, for each row of the table, the gradients of the texts that used it."""
        place, lengths, shares = ctx.saved_tensors
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=place.device), lengths)
        counts = torch.bincount(place, minlength=ctx.rows)
        starts = F.pad(counts.cumsum(0)[:-1], (1, 0))
        order = torch.argsort(place)
        found = F.embedding_bag(
            owner[order], gradients[0].contiguous(), starts, mode="sum", per_sample_weights=shares[order]
        )
        return found, None, None, None


class Bag(nn.Module):
    """Embed token lists: the one layer of a `transformers.Qwen3Model`.

    Two of its matrices are held simple because the embedding rows can take up what they would learn, and training is
    three times as fast: values are the normalised embeddings themselves, cut into heads, and a key is one number, the
    token's score. The first number of every normalised embedding is one, as positions need.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, heads = shape.width, shape.heads
        self.embed = nn.Parameter(torch.randn(shape.vocabulary, width - 1) * 0.05)
        self.input_norm = nn.Parameter(torch.ones(width))
        self.score = nn.Parameter(torch.zeros(heads, width))
        self.o = nn.Parameter(torch.eye(width) + 0.01 * torch.randn(width, width))
        self.inner_norm = nn.Parameter(torch.ones(width))
        self.gate = nn.Parameter(torch.randn(shape.inner, width) * 0.02)
        self.up = nn.Parameter(torch.randn(shape.inner, width) * 0.02)
        self.down = nn.Parameter(torch.randn(width, shape.inner) * 0.005)
        self.norm = nn.Parameter(torch.ones(width))

    def rows(self, ids: Tensor) -> Tensor:
        """Give the whole embeddings of tokens: ``(n, width)``, the first number being the others' root mean square."""
        found = F.embedding(ids, self.embed)
        return torch.cat([found.pow(2).mean(-1, keepdim=True).sqrt(), found], 1)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Embed token lists laid end to end, each with its end mark; rows are not yet of unit length."""
        groups, heads = len(self.shape.slopes), self.shape.heads // len(self.shape.slopes)
        unique, place = torch.unique(ids, return_inverse=True)
        normed = rms(self.rows(unique), self.input_norm)
        weight = torch.exp(normed @ self.score.T).view(-1, groups, heads)
        value = normed.view(-1, groups, heads, self.shape.head_width) * weight[..., None]
        at = torch.arange(len(ids), device=ids.device) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
        means = []
        for group, slope in enumerate(self.shape.slopes):
            table = torch.cat([value[:, group].flatten(1), weight[:, group]], 1)
            total: Tensor = Pool.apply(table, place, lengths, torch.exp(-slope * at))
            sums, of_weights = total.split([heads * self.shape.head_width, heads], 1)
            means.append((sums.view(-1, heads, self.shape.head_width) / of_weights[:, :, None]).flatten(1))
        x = self.rows(ids.new_zeros(1)) + torch.cat(means, 1) @ self.o.T
        inner = rms(x, self.inner_norm)
        x = x + (F.silu(inner @ self.gate.T) * (inner @ self.up.T)) @ self.down.T
        return rms(x, self.norm)

    def qwen3_state(self) -> dict[str, Tensor]:
        """Name the weights as `transformers.Qwen3Model` does."""
        layer, attention = "layers.0.", "layers.0.self_attn."
        queries, keys, query_norm, key_norm = self._attention()
        named = {
            "embed_tokens.weight": self.rows(torch.arange(self.shape.vocabulary)),
            layer + "input_layernorm.weight": self.input_norm,
            layer + "post_attention_layernorm.weight": self.inner_norm,
            attention + "q_proj.weight": queries,
            attention + "k_proj.weight": keys,
            attention + "v_proj.weight": torch.eye(self.shape.width),
            attention + "o_proj.weight": self.o,
            attention + "q_norm.weight": query_norm,
            attention + "k_norm.weight": key_norm,
            layer + "mlp.gate_proj.weight": self.gate,
            layer + "mlp.up_proj.weight": self.up,
            layer + "mlp.down_proj.weight": self.down,
            "norm.weight": self.norm,
        }
        return {name: tensor.detach().clone().float() for name, tensor in named.items()}

    def scores_by(self, keys: Tensor, normed: Tensor) -> Tensor:
        """Score tokens as `transformers` would by a key matrix that was rounded: ``(n, heads)``."""
        heads = keys.view(self.shape.heads, self.shape.head_width, self.shape.width)
        places = normed @ heads[:, PLACE + self.shape.head_width // 2].T
        return (normed @ heads[:, STILL].T) / (_SMALL * places)

    def _attention(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lay scores and slopes into the channels of queries and keys, so that neither norm changes them.

        A head's key is its place, which is one, and its score made so small that the norm over both stays one. Its
        query is one for the score, the slope for the place, and the rest of the norm where keys have nothing.
        """
        heads, head_width, width = self.shape.heads, self.shape.head_width, self.shape.width
        half = head_width // 2
        turn = ROPE_BASE ** (-PLACE / half)
        steepest = max(*self.shape.slopes, 1e-3)
        place_weight = steepest / (4 * turn)
        slope = self.shape.of_heads / (turn * place_weight)
        queries, keys = torch.zeros(heads, head_width, width), torch.zeros(heads, head_width, width)
        queries[:, STILL, 0], queries[:, PLACE, 0] = 1, slope
        queries[:, _SLACK, 0] = torch.sqrt(head_width - 1 - slope.square())
        keys[:, STILL] = self.score.detach() * _SMALL
        keys[:, PLACE + half, 0] = 1 / self.input_norm[0].detach()
        query_norm, key_norm = torch.ones(head_width), torch.ones(head_width)
        key_norm[STILL], key_norm[PLACE + half] = 1 / _SMALL, place_weight
        return queries.flatten(0, 1), keys.flatten(0, 1), query_norm, key_norm
