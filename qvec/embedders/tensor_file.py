"""Reading and writing safetensors files with NumPy alone, mapped into memory, not copied."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qvec.errors import EmbeddingError

Tensor = NDArray[Any]
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "I32": np.dtype("<i4"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Map a file's tensors, read-only.

    Raises:
        EmbeddingError: the file is missing, or is no safetensors file of the types F32, F16, I8 and I32.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = 8 + int.from_bytes(data[:8], "little")
        entries = json.loads(data[8:start])
        return {
            name: np.frombuffer(
                data, _TYPES[entry["dtype"]], int(np.prod(entry["shape"])), start + entry["data_offsets"][0]
            ).reshape(entry["shape"])
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise EmbeddingError(f"{path} cannot be read as safetensors ({exc}): install qvec again") from exc


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors in the order given; the same tensors give the same bytes."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())
