"""Products with a layer's weights: as they are, in float8 on a GPU, in int8 on a CPU, with a scale for each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 448.0
_LEAST_SCALE = 1e-12
_INT8_PRODUCT = "qlinear_pointwise"
_INT8_LARGEST = 127
# Without VNNI the CPU adds pairs of products in 16 bits, and cuts off what is over: 2 x 127 x 127 just fits.
_STATE_ZERO = 64
_STATE_LARGEST = 63
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


class Int8:
    """A matrix in int8, to be multiplied by its rows' scales.

    Attributes:
        values: int8 ``(rows, columns)``.
        scales: float32 ``(rows,)``.
    """

    def __init__(self, values: Any, scales: Any) -> None:
        self.values = values
        self.scales = scales
        self._packed: Any = None

    @property
    def packed(self) -> Any:
        """The values in the order in which oneDNN reads them."""
        if self._packed is None:
            import torch

            self._packed = torch.ops.onednn.qlinear_prepack(self.values, None)
        return self._packed


if TYPE_CHECKING:
    Weight: TypeAlias = Tensor | Float8 | Int8


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


def has_int8(device: Any) -> bool:
    """Tell whether torch multiplies int8 matrices by oneDNN on a device, which is for the CPU alone."""
    import torch

    return device.type == "cpu" and torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, _INT8_PRODUCT)


def to_int8(matrix: Tensor) -> Int8:
    """Round a matrix to int8, each row to its own largest value."""
    import torch

    values, scales = _rounded(matrix.float(), _INT8_LARGEST)
    return Int8(values.to(torch.int8), scales.flatten())


def product(x: Tensor, weight: Weight) -> Tensor:
    """Return ``x @ weight.T`` for ``x`` of ``(tokens, columns)``."""
    from torch.nn.functional import linear

    if isinstance(weight, Float8):
        return _float8_product(x, weight)
    if isinstance(weight, Int8):
        return _int8_product(x, weight)
    result: Tensor = linear(x, weight)
    return result


def product_onto(base: Tensor, x: Tensor, weight: Weight) -> Tensor:
    """Return ``base + x @ weight.T``."""
    import torch

    if isinstance(weight, Float8):
        return base + _float8_product(x, weight)
    if isinstance(weight, Int8):
        return _int8_product(x, weight).add_(base)
    return torch.addmm(base, x, weight.t())


def rows_of(weight: Weight, begin: int, end: int | None = None) -> Weight:
    """Return some rows of a matrix."""
    if isinstance(weight, Float8):
        return Float8(weight.values[begin:end], weight.scales[begin:end])
    if isinstance(weight, Int8):
        return Int8(weight.values[begin:end], weight.scales[begin:end])
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


def _int8_product(x: Tensor, weight: Int8) -> Tensor:
    """Multiply by int8 weights; each token's state is rounded to seven bits by its own largest value."""
    import torch

    values, scales = _rounded(x.float(), _STATE_LARGEST)
    states = values.add_(_STATE_ZERO).to(torch.uint8)
    zeros = torch.zeros(len(weight.scales), dtype=torch.int64)
    multiply: Callable[..., Tensor] = getattr(torch.ops.onednn, _INT8_PRODUCT)
    result = multiply(
        states, 1.0, _STATE_ZERO, weight.packed, weight.scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return result.mul_(scales).to(x.dtype)


def _rounded(matrix: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """Return whole numbers up to `largest`, as floats, and what each row's unit stands for, ``(rows, 1)``."""
    scales = (matrix.abs().amax(dim=1, keepdim=True) / largest).clamp(min=_LEAST_SCALE)
    return (matrix / scales).round_(), scales
