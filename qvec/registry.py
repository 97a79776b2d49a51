"""Finding adapters and models by name, through entry points; ours and a stranger's come in by the same door."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

from qvec.adapter import Adapter
from qvec.embedder import Embedder
from qvec.errors import ConfigError, QvecError, UnknownAdapterError
from qvec.reranker import Reranker
from qvec.uri import URI

ADAPTERS = "qvec.adapters"
EMBEDDERS = "qvec.embedders"
RERANKERS = "qvec.rerankers"
DEFAULT_MODEL = "bundled"


def adapter_names() -> list[str]:
    """Name the installed adapters, sorted."""
    return sorted({point.name for point in entry_points(group=ADAPTERS)})


def embedder_names() -> list[str]:
    """Name the installed kinds of embedder, sorted."""
    return sorted({point.name for point in entry_points(group=EMBEDDERS)})


def reranker_names() -> list[str]:
    """Name the installed kinds of reranker, sorted."""
    return sorted({point.name for point in entry_points(group=RERANKERS)})


def adapter_class(name: str) -> type[Adapter]:
    """Load the adapter of a name, which is also its URI scheme.

    Raises:
        UnknownAdapterError: no installed package provides it; the nearest name is offered.
        MissingDriverError: it is there, its driver is not.
    """
    point = _find(ADAPTERS, name)
    if point is None:
        raise UnknownAdapterError(_unknown("backend", name, adapter_names()))
    return cast("type[Adapter]", _load(point))


def open_adapter(address: str | URI) -> Adapter:
    """Connect to the database at a URI.

    Raises:
        ConfigError: the URI cannot be read, or its scheme is unknown.
        MissingDriverError: the driver is not installed.
        BackendConnectionError: the database cannot be reached, opened or logged in to.
    """
    uri = address if isinstance(address, URI) else URI.parse(address)
    return adapter_class(uri.scheme).from_uri(uri)


def embedded_uri(backend: str, folder: str | os.PathLike[str]) -> URI:
    """Name a backend's embedded database under a folder.

    Raises:
        UnknownAdapterError: no installed package provides it.
        ConfigError: this backend needs a server.
    """
    uri = adapter_class(backend).embedded_uri(os.fspath(folder))
    if uri is None:
        raise ConfigError(
            f"{backend} has no embedded form: give a URI, {backend}://host:port, or a profile in qvec.toml"
        )
    return uri


def load_embedder(model: str, *, dim: int | None = None) -> Embedder:
    """Load a model by name.

    Args:
        model: a kind alone (``bundled``, ``hashing``), ``kind:name`` (``transformer:/models/qwen``), or a Hugging Face
            name or folder (``Qwen/Qwen3-Embedding-0.6B``), which is a transformer.
        dim: width to cut to; None keeps the model's own.

    Raises:
        ConfigError: no installed package provides the kind.
        EmbeddingError: the model cannot be loaded.
    """
    maker, name = _model_maker(EMBEDDERS, "model", model, embedder_names(), "Qwen/Qwen3-Embedding-0.6B")
    return cast(Embedder, maker(name, dim=dim) if name else maker(dim=dim))


def load_reranker(model: str) -> Reranker:
    """Load a reranker by name.

    Args:
        model: ``kind:name`` (``rerank:NAME@http://host:8000/v1``), or a Hugging Face name or folder
            (``Qwen/Qwen3-Reranker-0.6B``), which is a transformer.

    Raises:
        ConfigError: no installed package provides the kind.
        EmbeddingError: the model cannot be loaded.
    """
    maker, name = _model_maker(RERANKERS, "reranker", model, reranker_names(), "Qwen/Qwen3-Reranker-0.6B")
    return cast(Reranker, maker(name))


def _model_maker(
    group: str, what: str, model: str, known: Iterable[str], example: str
) -> tuple[Callable[..., object], str]:
    """Find the class that a model's name asks for, and what of the name is for the class."""
    kind, _, name = model.partition(":")
    point = _find(group, kind)
    if point is None and ("/" in model or Path(model).is_dir()):
        point, name = _find(group, "transformer"), model
    if point is None:
        raise ConfigError(_unknown(what, model, known) + f"; or a Hugging Face name, {example}")
    return _load(point), name


def _load(point: EntryPoint) -> Callable[..., object]:
    try:
        return cast("Callable[..., object]", point.load())
    except QvecError:
        raise
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f"{point.name} is announced as {point.value}, which cannot be loaded: {exc}") from exc


def _find(group: str, name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=group, name=name)), None)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {what} {name!r}{hint} Installed: {', '.join(known)}"
