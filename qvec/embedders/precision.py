"""Vectors in fewer bytes: float16, int8 by each component's range, one bit a component.

int8 and binary are those of sentence-transformers' `quantize_embeddings`, number for number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from qvec.errors import InvalidInputError
from qvec.types import Vectors

Precision: TypeAlias = Literal["float32", "float16", "int8", "binary"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
# As many buckets as a byte has, the last one taking both its ends.
_STEPS = 255


@dataclass(frozen=True, slots=True)
class Calibration:
    """The range of each component over vectors like those to come.

    Attributes:
        low: smallest values, float32 ``(dim,)``.
        high: largest values, float32 ``(dim,)``.
    """

    low: Vectors
    high: Vectors

    @property
    def steps(self) -> Vectors:
        """What one unit of int8 stands for, float32 ``(dim,)``; 1 for a component that never changes."""
        steps = (self.high - self.low) / np.float32(_STEPS)
        return np.where(steps == 0, np.float32(1), steps)


def calibrate(vectors: Vectors) -> Calibration:
    """Measure the ranges for int8.

    Args:
        vectors: float ``(n, dim)``, at least two and better hundreds, of texts like those to be embedded.

    Raises:
        InvalidInputError: there are fewer than two, they are no matrix of floats, or hold NaN or infinity.
    """
    rows = _checked(vectors)
    if len(rows) < 2:
        raise InvalidInputError(f"int8 takes its ranges from two vectors at least, and better hundreds: {len(rows)}")
    return Calibration(rows.min(axis=0), rows.max(axis=0))


def check_precision(precision: str, calibration: Calibration | None) -> None:
    """Check what `quantize` will be asked, before time is spent on vectors.

    Raises:
        InvalidInputError: the precision is unknown, or int8 has no calibration.
    """
    if precision not in PRECISIONS:
        raise InvalidInputError(f"precision {precision!r} is unknown: take {', '.join(PRECISIONS)}")
    if precision == "int8" and calibration is None:
        raise InvalidInputError("int8 needs a calibration: calibrate(vectors of texts like those to be embedded)")


def quantize(vectors: Vectors, precision: str, *, calibration: Calibration | None = None) -> npt.NDArray[np.generic]:
    """Write vectors in another precision.

    Args:
        vectors: float ``(n, dim)``.
        precision: one of `PRECISIONS`.
        calibration: the components' ranges, which int8 needs; a value beyond them becomes the nearest end.

    Returns:
        float32, float16 or int8 ``(n, dim)``; for ``"binary"`` int8 ``(n, dim / 8 rounded up)``, each byte eight signs,
        the first in its highest bit, minus 128.

    Raises:
        InvalidInputError: the precision is unknown, int8 has no calibration or one of another dim, or the vectors are
            no matrix of finite floats, or beyond float16.
    """
    check_precision(precision, calibration)
    rows = _checked(vectors)
    if precision == "float32":
        return rows
    if precision == "float16":
        if len(rows) and np.abs(rows).max() > np.finfo(np.float16).max:
            raise InvalidInputError("a component is beyond float16, whose largest number is 65504: take float32")
        return rows.astype(np.float16)
    if calibration is not None and precision == "int8":
        return _int8(rows, calibration)
    return (np.packbits(rows > 0, axis=-1) ^ 128).view(np.int8)


def restore(codes: npt.NDArray[np.int8], calibration: Calibration) -> Vectors:
    """Return the float32 vectors that int8 codes stand for: the middle of each bucket, half a step off at most.

    Raises:
        InvalidInputError: the codes are no int8 matrix of the calibration's dim.
    """
    if codes.dtype != np.int8 or codes.ndim != 2 or codes.shape[1] != len(calibration.low):
        raise InvalidInputError(f"codes are {codes.dtype} {codes.shape}, not int8 (n, {len(calibration.low)})")
    # The last bucket is a single point, the range's end.
    middle = np.minimum(codes.astype(np.float32) + np.float32(128.5), np.float32(_STEPS))
    # Not by `steps`, whose 1 for a component that never changes would move it.
    rows: Vectors = calibration.low + middle * ((calibration.high - calibration.low) / np.float32(_STEPS))
    return rows


def _int8(rows: Vectors, calibration: Calibration) -> npt.NDArray[np.int8]:
    if rows.shape[1] != len(calibration.low):
        raise InvalidInputError(f"vectors have {rows.shape[1]} components, the calibration {len(calibration.low)}")
    buckets = np.clip(np.floor((rows - calibration.low) / calibration.steps), 0, _STEPS)
    codes: npt.NDArray[np.int8] = (buckets - 128).astype(np.int8)
    return codes


def _checked(vectors: Vectors) -> Vectors:
    rows = np.asarray(vectors)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating):
        raise InvalidInputError(f"vectors are {rows.dtype} {rows.shape}, not a matrix of floats (n, dim)")
    if not np.isfinite(rows).all():
        raise InvalidInputError("vectors hold NaN or infinity")
    return rows.astype(np.float32, copy=False)
