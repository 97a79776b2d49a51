"""Vectors without a database, for programs that store them by themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from qvec import config
from qvec.embedder import Embedder
from qvec.embedders.cache import CachedEmbedder, open_cache
from qvec.embedders.precision import Calibration, Precision, check_precision, quantize
from qvec.errors import InvalidInputError
from qvec.model_choice import ModelChoice

Role: TypeAlias = Literal["document", "query"]


def embed(
    texts: Sequence[str],
    *,
    role: Role = "document",
    model: str | None = None,
    dim: int | None = None,
    device: str | None = None,
    embedder: Embedder | None = None,
    instruction: str | None = None,
    precision: Precision = "float32",
    calibration: Calibration | None = None,
    cache: bool | str | None = None,
) -> npt.NDArray[np.generic]:
    """Turn texts into vectors.

    The model is loaded for this call; a program that embeds again and again loads it once, by
    `qvec.registry.load_embedder`, and gives it as `embedder`.

    Args:
        texts: any strings; none may be over the model's window.
        role: ``"query"`` puts the model's instruction before each text.
        model: its name; None takes the configured one, else the bundled one.
        dim: width to cut to, from 32 to the model's own for most models.
        device: where a model of torch computes, as `qvec.connect` says.
        embedder: a model that is loaded already, instead of `model`, `dim` and `device`.
        instruction: of queries, a preset's name or a sentence; None takes the model's default.
        precision: ``"float32"``, ``"float16"``, ``"int8"``, ``"binary"``, as `qvec.embedders.precision.quantize` says.
        calibration: the components' ranges, which int8 needs, from `qvec.embedders.precision.calibrate`.
        cache: keep vectors, as `qvec.connect` says; they are kept in float32.

    Returns:
        ``(len(texts), dim)``, ``(len(texts), dim / 8 rounded up)`` for ``"binary"``; float rows have unit length.

    Raises:
        InvalidInputError: an unknown role or precision, int8 without a calibration, an instruction for documents.
        ConfigError: the configuration, the device or the model's name cannot be used.
        EmbeddingError: the model cannot be loaded, or a text cannot be embedded.
    """
    if role not in ("document", "query"):
        raise InvalidInputError(f"role={role!r}: takes document or query")
    if role == "document" and instruction is not None:
        raise InvalidInputError("an instruction goes before queries: add role='query'")
    check_precision(precision, calibration)
    settings = config.resolve("memory://", model=model, dim=dim, cache=cache, env=os.environ, cwd=Path.cwd())
    choice = ModelChoice(
        embedder=embedder,
        default_model=settings.model,
        default_dim=settings.dim,
        device=device,
        default_device=settings.device,
    )
    loaded = choice.load(None)
    if settings.cache is None:
        return quantize(_rows(loaded, texts, role, instruction), precision, calibration=calibration)
    kept = open_cache(settings.cache)
    try:
        rows = _rows(CachedEmbedder(loaded, kept), texts, role, instruction)
    finally:
        kept.close()
    return quantize(rows, precision, calibration=calibration)


def _rows(embedder: Embedder, texts: Sequence[str], role: Role, instruction: str | None) -> npt.NDArray[np.float32]:
    if role == "document":
        return embedder.encode_document(texts)
    return embedder.encode_query(texts, instruction=instruction)
