"""A model's weight files, known from their headers and samples: a fingerprint and a size without reading them whole."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qvec.errors import EmbeddingError

_OTHER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "1_Pooling/config.json",
)
# Written by whoever saved the folder, without bearing on the vectors.
_VOLATILE_KEYS = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache")
_SAMPLES = 32
_SAMPLE_BYTES = 4096


def fingerprint(path: Path, config: Mapping[str, Any]) -> str:
    """Hash what decides the vectors: config, tokenizer, pooling, and the weights' headers with samples of their bytes.

    A sample instead of the whole keeps 16 GB of weights at milliseconds; any two trainings differ in it.
    """
    digest = hashlib.sha256()
    lasting = {key: value for key, value in config.items() if key not in _VOLATILE_KEYS}
    digest.update(json.dumps(lasting, sort_keys=True).encode())
    for name in _OTHER_FILES:
        if (path / name).is_file():
            digest.update(name.encode())
            digest.update((path / name).read_bytes())
    for weights in sorted(path.glob("*.safetensors")):
        for piece in _weight_pieces(weights):
            digest.update(piece)
    return digest.hexdigest()[:16]


def parameter_count(path: Path) -> int:
    """Count the weights' numbers from the headers of their files.

    Raises:
        EmbeddingError: a file is cut off, or no safetensors at all.
    """
    return sum(math.prod(shape) for weights in path.glob("*.safetensors") for shape in _shapes(weights))


def _weight_pieces(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        header = min(struct.unpack("<Q", head)[0], size) if len(head) == 8 else 0
        yield size.to_bytes(8, "little") + head + file.read(header)
        start = 8 + header
        for sample in range(_SAMPLES):
            file.seek(start + max(0, size - start - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
            yield file.read(_SAMPLE_BYTES)


def _shapes(path: Path) -> list[list[int]]:
    """Read the tensors' shapes, once the file is as long as its header says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = min(struct.unpack("<Q", file.read(8))[0], size)
            header = json.loads(file.read(length))
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        shapes = [[int(length) for length in tensor["shape"]] for tensor in tensors]
        end = 8 + length + max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EmbeddingError(f"{path} cannot be read as safetensors: download it again") from exc
    if size < end:
        raise EmbeddingError(f"{path} is cut off, {size} of {end} bytes: download it again")
    return shapes
