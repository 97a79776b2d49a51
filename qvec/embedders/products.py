"""Products with a layer's weights: as they are, or in float8 with a scale for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 448.0
_LEAST_SCALE = 1e-12
# Ada and Hopper multiply float8; older kinds do not.
_FP8_CAPABILITY = (8, 9)


class Float8(NamedTuple):
    """A matrix in float8 (e4m3), to be multiplied by its rows' scales.

    Attributes:
        values: float8 ``(rows, columns)``.
        scales: float32 ``(rows, 1)``.
    """

    values: Any
    scales: Any


if TYPE_CHECKING:
    Weight: TypeAlias = Tensor | Float8


def has_float8(device: Any) -> bool:
    """Tell whether a device multiplies float8 matrices."""
    if device.type != "cuda":
        return False
    import torch

    return bool(torch.cuda.get_device_capability(device) >= _FP8_CAPABILITY)


def to_float8(matrix: Tensor) -> Float8:
    """Round a matrix to float8, each row to its own largest value."""
    import torch

    wide = matrix.float()
    scales = (wide.abs().amax(dim=1, keepdim=True) / _LARGEST).clamp(min=_LEAST_SCALE)
    return Float8((wide / scales).to(torch.float8_e4m3fn), scales)


def product(x: Tensor, weight: Weight) -> Tensor:
    """Return ``x @ weight.T`` for ``x`` of ``(tokens, columns)``."""
    from torch.nn.functional import linear

    if isinstance(weight, Float8):
        return _float8_product(x, weight)
    result: Tensor = linear(x, weight)
    return result


def product_onto(base: Tensor, x: Tensor, weight: Weight) -> Tensor:
    """Return ``base + x @ weight.T``."""
    import torch

    if isinstance(weight, Float8):
        return base + _float8_product(x, weight)
    return torch.addmm(base, x, weight.t())


def rows_of(weight: Weight, begin: int, end: int | None = None) -> Weight:
    """Return some rows of a matrix."""
    if isinstance(weight, Float8):
        return Float8(weight.values[begin:end], weight.scales[begin:end])
    return weight[begin:end]


def _float8_product(x: Tensor, weight: Float8) -> Tensor:
    import torch

    rounded = to_float8(x)
    if x.is_cuda:
        result: Tensor = torch._scaled_mm(
            rounded.values,
            weight.values.t(),
            scale_a=rounded.scales,
            scale_b=weight.scales.t(),
            out_dtype=x.dtype,
            use_fast_accum=True,
        )
        return result
    exact = (rounded.values.float() * rounded.scales) @ (weight.values.float() * weight.scales).t()
    return exact.to(x.dtype)
