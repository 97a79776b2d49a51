"""Qwen3 without padding: sequences end to end, and the last layer computed only for the tokens that are read.

The arithmetic is that of transformers' `Qwen3Model`, whose weights it takes over in place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from qvec.embedders.attention import Prefix, VarlenAttention, choose_attention
from qvec.embedders.compiling import CompiledLayer
from qvec.embedders.forward import Forward
from qvec.embedders.graphs import Graphs
from qvec.embedders.levers import Levers
from qvec.embedders.packing import Packed, pack, packed_batches
from qvec.embedders.products import product, product_onto, rows_of, to_float8, to_int8

if TYPE_CHECKING:
    from torch import Tensor

    from qvec.embedders.products import Weight

    Rope: TypeAlias = tuple[Tensor, Tensor]

# Shorter prefixes do not pay for laying them before every sequence.
_LEAST_PREFIX = 4
_PREFIXES = 8
# Rows of the feed-forward part at a time: its inner states are the widest, and a long text would need gigabytes.
_ROWS = 8192


class Layer(NamedTuple):
    """A layer's weights; query, key and value lie in one matrix, gate and up in another."""

    norm: Tensor
    qkv: Weight
    heads_norm: Tensor
    out: Weight
    feed_norm: Tensor
    gate_up: Weight
    down: Weight


def can_pack(config: Any, pooling: str) -> bool:
    """Tell whether a model is a causal Qwen3 of the published kind, read at its last token."""
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    kinds = getattr(config, "layer_types", None) or ()
    return bool(
        config.model_type == "qwen3"
        and pooling == "last"
        and getattr(config, "is_causal", True) is not False
        and not getattr(config, "use_bidirectional_attention", False)
        and config.hidden_act == "silu"
        and not config.attention_bias
        and not getattr(config, "use_sliding_window", False)
        and all(name == "full_attention" for name in kinds)
        # The others change their frequencies with the length.
        and kind in ("default", "linear", "yarn")
        and getattr(config, "quantization_config", None) is None
    )


class PackedForward(Forward):
    """Run a causal Qwen3 over packed sequences, and take each one's last token."""

    def __init__(self, model: Any, levers: Levers | None = None) -> None:
        """Take a loaded model.

        Args:
            model: a `Qwen3Model` for which `can_pack` is true; its weights move into fewer, larger matrices.
            levers: what to speed up by; None takes what pays on a CPU.
        """
        self._levers = levers or Levers()
        config = model.config
        self._heads: int = config.num_attention_heads
        self._key_heads: int = config.num_key_value_heads
        self._width: int = config.head_dim
        self._eps: float = config.rms_norm_eps
        self._embedding = model.embed_tokens.weight
        self._norm = model.norm.weight
        self._frequencies = model.rotary_emb.inv_freq.float()
        self._rope_scale: float = model.rotary_emb.attention_scaling
        self._layers = [self._take(layer) for layer in model.layers]
        self._attention = choose_attention(self._embedding.device, self._embedding.dtype)
        self._compiled = CompiledLayer(self.layer, self._attention, enabled=self._levers.compiled)
        self._graphs = Graphs(lambda packed: self._run(packed, None)) if self._levers.graphs else None
        self._prefixes: OrderedDict[tuple[int, ...], list[Prefix]] = OrderedDict()

    def __call__(self, sequences: Sequence[Sequence[int]], *, shared: int = 0) -> Tensor:
        """Return each sequence's last hidden state, float32 ``(len(sequences), width)``, on the model's device."""
        import torch

        shared = min(shared, min(map(len, sequences)) - 1)
        if shared < _LEAST_PREFIX or not self._levers.shared_prefix:
            shared = 0
        with torch.inference_mode():
            if self._graphs is not None and isinstance(self._attention, VarlenAttention):
                rows = self._graphs(pack(sequences, self._embedding.device, pinned=self._levers.pinned))
                if rows is not None:
                    return rows.float()
            prefixes = self._prefix(tuple(sequences[0][:shared])) if shared else None
            return self._run(
                pack(sequences, self._embedding.device, skip=shared, pinned=self._levers.pinned), prefixes
            ).float()

    def batches(self, lengths: Sequence[int], budget: int) -> list[list[int]]:
        """Cut texts into batches of at most `budget` tokens, longest first."""
        return packed_batches(lengths, budget)

    def cost(self, lengths: Sequence[int]) -> int:
        """Count the tokens of a batch; there is no padding."""
        return sum(lengths)

    def _prefix(self, ids: tuple[int, ...]) -> list[Prefix]:
        """Return each layer's keys and values of a beginning that many sequences share."""
        if ids not in self._prefixes:
            kept: list[Prefix] = []
            self._run(pack([ids], self._embedding.device, pinned=self._levers.pinned), None, keep=kept)
            self._prefixes[ids] = kept
        self._prefixes.move_to_end(ids)
        while len(self._prefixes) > _PREFIXES:
            self._prefixes.popitem(last=False)
        return self._prefixes[ids]

    def _run(self, packed: Packed, prefixes: list[Prefix] | None, *, keep: list[Prefix] | None = None) -> Tensor:
        import torch

        angles = torch.outer(packed.positions.float(), self._frequencies)
        angles = torch.cat([angles, angles], dim=-1)[:, None]
        x = torch.nn.functional.embedding(packed.ids, self._embedding)
        cos, sin = ((wave * self._rope_scale).to(x.dtype) for wave in (angles.cos(), angles.sin()))
        rope = (cos, sin)
        compiled = self._compiled.layer(packed, rope) if prefixes is None and keep is None else None
        for index, layer in enumerate(self._layers):
            prefix = prefixes[index] if prefixes else None
            last = index == len(self._layers) - 1
            if keep is not None:
                keep.append(self._keys(layer, x, rope))
            if last and keep is None:
                x = self._last_layer(layer, x, rope, packed, prefix)
            elif compiled is not None:
                x = compiled(layer, x)
            elif not last:
                x = self._middle_layer(layer, x, rope, packed, prefix)
        return _normed(x, self._norm, self._eps)

    def _middle_layer(self, layer: Layer, x: Tensor, rope: Rope, packed: Packed, prefix: Prefix | None) -> Tensor:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return self._attention.causal(q, k, v, packed.starts, packed.lengths, prefix)

        return self.layer(layer, x, rope, attend)

    def layer(self, layer: Layer, x: Tensor, rope: Rope, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Take the tokens' states through a layer.

        Args:
            layer: its weights.
            x: states ``(tokens, hidden)``.
            rope: cosines and sines ``(tokens, 1, width)``.
            attend: attention.

        Returns:
            States like `x`.
        """
        mixed = product(_normed(x, layer.norm, self._eps), layer.qkv)
        mixed = mixed.view(len(x), self._heads + 2 * self._key_heads, self._width)
        turned, v = mixed.split([self._heads + self._key_heads, self._key_heads], dim=1)
        q, k = _rotated(_normed(turned, layer.heads_norm, self._eps), rope).split([self._heads, self._key_heads], dim=1)
        return self._feed(layer, product_onto(x, attend(q, k, v).reshape(len(x), -1), layer.out))

    def _last_layer(self, layer: Layer, x: Tensor, rope: Rope, packed: Packed, prefix: Prefix | None) -> Tensor:
        """Compute keys and values of all tokens, and the rest for the last ones alone."""

        h = _normed(x, layer.norm, self._eps)
        split = self._heads * self._width
        rows = packed.last
        k, v = self._key_rows(layer, h, rope)
        q = product(h[rows], rows_of(layer.qkv, 0, split)).view(len(rows), self._heads, self._width)
        at_end = (rope[0][rows], rope[1][rows])
        q = _rotated(_normed(q, layer.heads_norm[: self._heads], self._eps), at_end)
        seen = self._attention.last(q, k, v, packed.starts, packed.lengths, prefix)
        return self._feed(layer, product_onto(x[rows], seen.reshape(len(rows), -1), layer.out))

    def _keys(self, layer: Layer, x: Tensor, rope: Rope) -> Prefix:
        return Prefix(*self._key_rows(layer, _normed(x, layer.norm, self._eps), rope))

    def _key_rows(self, layer: Layer, h: Tensor, rope: Rope) -> tuple[Tensor, Tensor]:
        mixed = product(h, rows_of(layer.qkv, self._heads * self._width)).view(len(h), 2 * self._key_heads, self._width)
        k, v = mixed.split(self._key_heads, dim=1)
        return _rotated(_normed(k, layer.heads_norm[self._heads :], self._eps), rope), v

    def _feed(self, layer: Layer, x: Tensor) -> Tensor:
        import torch

        parts = []
        for rows in x.split(_ROWS):
            gate, up = product(_normed(rows, layer.feed_norm, self._eps), layer.gate_up).chunk(2, dim=-1)
            parts.append(product_onto(rows, torch.nn.functional.silu(gate, inplace=True).mul_(up), layer.down))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _take(self, layer: Any) -> Layer:
        attention, feed = layer.self_attn, layer.mlp
        heads = [attention.q_norm.weight.expand(self._heads, -1), attention.k_norm.weight.expand(self._key_heads, -1)]
        import torch

        taken = Layer(
            norm=layer.input_layernorm.weight,
            qkv=_fused([attention.q_proj, attention.k_proj, attention.v_proj]),
            heads_norm=torch.cat(heads),
            out=attention.o_proj.weight,
            feed_norm=layer.post_attention_layernorm.weight,
            gate_up=_fused([feed.gate_proj, feed.up_proj]),
            down=feed.down_proj.weight,
        )
        rounded = to_float8 if self._levers.float8 else to_int8 if self._levers.int8 else None
        if rounded is None:
            return taken
        matrices = (taken.qkv, taken.out, taken.gate_up, taken.down)
        qkv, out, gate_up, down = (rounded(matrix) for matrix in matrices)
        return taken._replace(qkv=qkv, out=out, gate_up=gate_up, down=down)


def _fused(parts: Sequence[Any]) -> Tensor:
    """Lay matrices under each other, and leave to their modules views, so that no weight is held twice."""
    import torch

    whole = torch.cat([part.weight.detach() for part in parts])
    for part, rows in zip(parts, whole.split([part.weight.shape[0] for part in parts]), strict=True):
        part.weight.data = rows
    return whole


def _normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    from torch.nn.functional import rms_norm

    result: Tensor = rms_norm(x, (x.shape[-1],), None, eps).mul_(weight)
    return result


def _rotated(x: Tensor, rope: Rope) -> Tensor:
    """Turn ``(tokens, heads, width)`` by its positions; in place by halves takes 0.4 times as long as by one `cat`."""
    cos, sin = rope
    turned = x * cos
    for into, of, wave, sign in zip(turned.chunk(2, -1), x.chunk(2, -1)[::-1], sin.chunk(2, -1), (-1, 1), strict=True):
        into.addcmul_(of, wave, value=sign)
    return turned
