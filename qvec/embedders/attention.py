"""Attention among the tokens of each sequence of a packed row, every token seeing those before it.

On CUDA in half precision torch's variable-length kernel does it in one call. Elsewhere sequences of equal length share
a call of `scaled_dot_product_attention`. Queries are ``(tokens, heads, width)``, keys and values
``(tokens, key heads, width)``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values that every sequence of a row has before its own, ``(tokens, key heads, width)``."""

    keys: Tensor
    values: Tensor


class Attention(Protocol):
    """A way to compute attention in a packed row."""

    def causal(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, lengths: Sequence[int], prefix: Prefix | None = None
    ) -> Tensor:
        """Let each token see its sequence up to itself; return what `q` is shaped like."""

    def last(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, lengths: Sequence[int], prefix: Prefix | None = None
    ) -> Tensor:
        """Let the last token of each sequence see all of it; `q` and the result are ``(sequences, heads, width)``."""


class GroupedAttention(Attention):
    """Attention by `scaled_dot_product_attention`, one call for neighbours of equal length; for every device."""

    def causal(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, lengths: Sequence[int], prefix: Prefix | None = None
    ) -> Tensor:
        """Let each token see its sequence up to itself; return what `q` is shaped like."""
        import torch

        out = torch.empty_like(q)
        for count, length, begin, end in _groups(lengths):
            queries = q[begin:end].view(count, length, *q.shape[1:]).transpose(1, 2)
            keys, values = _group(k, v, prefix, count, length, begin, end)
            mask = None
            if prefix is not None:
                before = keys.shape[2] - length
                mask = torch.ones(length, keys.shape[2], dtype=torch.bool, device=q.device).tril(before)
            attended = _attend(queries, keys, values, mask=mask, causal=mask is None and length > 1)
            out[begin:end] = attended.transpose(1, 2).reshape(end - begin, *q.shape[1:])
        return out

    def last(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, lengths: Sequence[int], prefix: Prefix | None = None
    ) -> Tensor:
        """Let the last token of each sequence see all of it; `q` and the result are ``(sequences, heads, width)``."""
        import torch

        out = torch.empty_like(q)
        done = 0
        for count, length, begin, end in _groups(lengths):
            # The heads that share keys stand where tokens stand: no key is repeated.
            queries = q[done : done + count].view(count, k.shape[1], -1, q.shape[2])
            keys, values = _group(k, v, prefix, count, length, begin, end)
            out[done : done + count] = _attend(queries, keys, values).reshape(count, *q.shape[1:])
            done += count
        return out


class VarlenAttention(Attention):
    """Attention by `torch.nn.attention.varlen`, torch 2.10 and later, CUDA, bfloat16 and float16."""

    def causal(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, lengths: Sequence[int], prefix: Prefix | None = None
    ) -> Tensor:
        """Let each token see its sequence up to itself; return what `q` is shaped like."""
        k, v, key_starts, before = with_prefix(k, v, starts, lengths, prefix)
        # The kernel aligns the causal mask with the end of the keys, which is right behind a prefix too.
        longest = max(lengths)
        return _varlen(q, k, v, starts, key_starts, longest, longest + before, causal=True)

    def last(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, lengths: Sequence[int], prefix: Prefix | None = None
    ) -> Tensor:
        """Let the last token of each sequence see all of it; `q` and the result are ``(sequences, heads, width)``."""
        import torch

        k, v, key_starts, before = with_prefix(k, v, starts, lengths, prefix)
        ones = torch.arange(len(q) + 1, device=q.device, dtype=torch.int32)
        return _varlen(q, k, v, ones, key_starts, 1, max(lengths) + before, causal=False)


def choose_attention(device: Any, dtype: Any) -> Attention:
    """Return the fastest attention for a device and number format."""
    import torch

    half = dtype in (torch.bfloat16, torch.float16)
    return VarlenAttention() if device.type == "cuda" and half and _varlen_names() else GroupedAttention()


def _groups(lengths: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield neighbours of equal length: how many, their length, their first token and the one after the last."""
    begin = 0
    for length, group in groupby(lengths):
        count = sum(1 for _ in group)
        yield count, length, begin, begin + count * length
        begin += count * length


def _group(
    k: Tensor, v: Tensor, prefix: Prefix | None, count: int, length: int, begin: int, end: int
) -> tuple[Tensor, Tensor]:
    keys, values = (rows[begin:end].view(count, length, *rows.shape[1:]) for rows in (k, v))
    if prefix is not None:
        keys, values = _behind(prefix.keys, keys), _behind(prefix.values, values)
    return keys.transpose(1, 2), values.transpose(1, 2)


def _behind(common: Tensor, rows: Tensor) -> Tensor:
    import torch

    return torch.cat([common.expand(len(rows), *common.shape), rows], dim=1)


def _attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    from torch.nn.functional import scaled_dot_product_attention

    shared = q.shape[1] != k.shape[1]
    result: Tensor = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=shared)
    return result


def with_prefix(
    k: Tensor, v: Tensor, starts: Tensor, lengths: Sequence[int], prefix: Prefix | None
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Lay the prefix before each sequence's keys and values."""
    import torch

    if prefix is None:
        return k, v, starts, 0
    before = len(prefix.keys)
    parts = [k[:0], v[:0]]
    for side, (own, common) in enumerate(((k, prefix.keys), (v, prefix.values))):
        pieces = _interleaved(common, own.split(list(lengths)))
        parts[side] = torch.cat(pieces)
    shift = torch.arange(len(starts), device=starts.device, dtype=torch.int32) * before
    return parts[0], parts[1], starts + shift, before


def _interleaved(common: Tensor, rows: Sequence[Tensor]) -> list[Tensor]:
    """Put one tensor before each of others."""
    return [piece for row in rows for piece in (common, row)]


@functools.cache
def _varlen_names() -> frozenset[str]:
    """Return the parameters of torch's variable-length attention, which change between versions; empty without it."""
    import inspect

    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)


def varlen_options(names: frozenset[str], *, causal: bool, shared: bool) -> dict[str, object]:
    """Spell the wish in a version's words.

    Torch 2.10 takes is_causal; 2.11 window_size, and grouped heads unasked; from 2.12 enable_gqa has to be said.
    """
    options: dict[str, object] = {}
    if "window_size" in names:
        options["window_size"] = (-1, 0) if causal else (-1, -1)
    else:
        options["is_causal"] = causal
    if "enable_gqa" in names:
        options["enable_gqa"] = shared
    return options


def _varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    key_starts: Tensor,
    longest: int,
    longest_keys: int,
    *,
    causal: bool,
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    options = varlen_options(_varlen_names(), causal=causal, shared=q.shape[1] != k.shape[1])
    result: Tensor = varlen_attn(q, k, v, starts, key_starts, longest, longest_keys, **options)
    return result
