"""Weights onto a device: which device, which number format, is there room, are they whole."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from qvec.embedders.model_folder import ModelFolder
from qvec.embedders.weights import parameter_count
from qvec.errors import ConfigError, EmbeddingError, MissingDriverError

DTYPES = ("float32", "bfloat16", "float16")
_FAST_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}
_NEEDED = ("torch", "transformers", "safetensors")
# Heads that no pooling reads; checkpoints often come without them.
_UNREAD = ("pooler.",)
_NAMED = {"embedding": "an embedding model", "causal": "a language model"}
_LESS = "take a smaller model, dtype='bfloat16', or another device"


def require_packages() -> None:
    """Check that torch and transformers are installed, without importing them.

    Raises:
        MissingDriverError: one is not.
    """
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingDriverError(package, "torch")


def choose_device(asked: str | None) -> Any:
    """Return the torch device: the one asked for, else CUDA, else Apple's GPU, else the CPU.

    Raises:
        ConfigError: no such kind of device.
        EmbeddingError: the device is not there.
    """
    import torch

    if asked is None:
        asked = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as exc:
        raise ConfigError(f"device {asked!r} is unknown: take cpu, cuda, cuda:1 or mps") from exc
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EmbeddingError(
            f"device {asked!r} asked for, and torch {torch.__version__} sees no CUDA device: take device='cpu', "
            "or install a driver and a CUDA build of torch"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EmbeddingError(f"device {asked!r} asked for, and there are {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise EmbeddingError(f"device {asked!r} asked for, and torch sees no Apple GPU: take device='cpu'")
    return device


def choose_dtype(asked: str | None, device: Any, *, cpuinfo: Path = Path("/proc/cpuinfo")) -> Any:
    """Return the torch dtype of the weights.

    Args:
        asked: one of `DTYPES`; None takes bfloat16 on a CUDA device or CPU with instructions for it, and otherwise
            float32, because float16 overflows in Qwen3.
        device: a torch device.
        cpuinfo: where Linux tells what its CPU can do.

    Raises:
        ConfigError: no such dtype.
    """
    import torch

    if asked is not None and asked not in DTYPES:
        raise ConfigError(f"dtype {asked!r} is unknown: take {', '.join(DTYPES)}")
    if asked is not None:
        return getattr(torch, asked)
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    if device.type == "cpu" and multiplies_bfloat16(cpuinfo):
        return torch.bfloat16
    return torch.float32


def multiplies_bfloat16(cpuinfo: Path) -> bool:
    """Tell from Linux's account of the CPU whether it multiplies bfloat16 matrices; elsewhere False."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return bool(_FAST_CPU_FLAGS.intersection(flags))


def load_model(
    folder: ModelFolder, device: Any, dtype: Any, *, kind: Literal["embedding", "causal"] = "embedding"
) -> Any:
    """Load the weights, ready for use.

    Args:
        folder: the model.
        device: a torch device.
        dtype: a torch dtype.
        kind: ``"causal"`` loads a language model with the head that names the next token.

    Raises:
        EmbeddingError: they do not fit, are broken or not whole, or the architecture embeds no text.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoModelForCausalLM

    if folder.config.get("is_encoder_decoder"):
        raise EmbeddingError(f"{folder.path} is a sequence-to-sequence model; take an embedding model of one stack")
    _check_room(folder.path, device, dtype)
    try:
        model, report = (AutoModel if kind == "embedding" else AutoModelForCausalLM).from_pretrained(
            str(folder.path),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **_dtype_argument(dtype),
        )
        _check_whole(folder, report)
        model = model.to(device)
    except (torch.OutOfMemoryError, MemoryError) as exc:
        raise EmbeddingError(f"{folder.path} does not fit on {device}: {_LESS}") from exc
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as exc:
        raise EmbeddingError(f"{folder.path} cannot be loaded as {_NAMED[kind]}: {exc}") from exc
    model.config.use_cache = False
    return model.eval().requires_grad_(False)


def is_out_of_memory(error: Exception) -> bool:
    """Tell a lack of memory from torch's other failures; on the CPU only the message does."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def free_bytes(device: Any, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the memory that is free on a device; None where the system does not tell."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _check_room(path: Path, device: Any, dtype: Any) -> None:
    needed = parameter_count(path) * dtype.itemsize
    free = free_bytes(device)
    if free is not None and needed > free:
        raise EmbeddingError(
            f"{path} needs {needed / 1e9:.1f} GB as {dtype}, {free / 1e9:.1f} GB are free on {device}: {_LESS}"
        )


def _check_whole(folder: ModelFolder, report: Mapping[str, Any]) -> None:
    """Refuse weights that transformers would fill up with random numbers."""
    missing = sorted(str(key) for key in report["missing_keys"] if not str(key).startswith(_UNREAD))
    if missing:
        raise EmbeddingError(
            f"{folder.path} lacks {len(missing)} of its model's tensors, {missing[0]} first: download it again"
        )


def _dtype_argument(dtype: Any) -> dict[str, Any]:
    import transformers

    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    # transformers 4.56 renamed it and warns of the old name.
    return {"dtype" if (major, minor) >= (4, 56) else "torch_dtype": dtype}
