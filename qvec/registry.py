"""Finding adapters and models by name, through entry points; ours and a stranger's come in by the same door."""

from __future__ import annotations

import difflib
import inspect
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


def load_embedder(model: str, *, dim: int | None = None, device: str | None = None) -> Embedder:
    """Load a model by name.

    Args:
        model: a kind alone (``bundled``, ``hashing``), ``kind:name`` (``transformer:/models/qwen``), or a Hugging Face
            name or folder (``Qwen/Qwen3-Embedding-0.6B``), which is a transformer.
        dim: width to cut to; None keeps the model's own.
        device: where torch computes, ``"cpu"``, ``"cuda:1"`` or ``"mps"``; several, ``"cuda:0,cuda:1"``, share the work
            in a process each. None takes the best there is.

    Raises:
        ConfigError: no installed package provides the kind, or it runs on no device of ours.
        EmbeddingError: the model cannot be loaded, or the device is not there.
    """
    maker, name = _embedder_maker(model)
    places = [place.strip() for place in device.split(",")] if device is not None else []
    if places and not _takes_device(maker):
        raise ConfigError(
            f"model {model!r} does not run in torch here, and takes no device: leave device={device!r} out"
        )
    if len(places) > 1:
        spread = getattr(maker, "spread", None)
        if spread is None:
            raise ConfigError(f"model {model!r} takes one device, not {device!r}")
        return cast(Embedder, spread(name, places, dim=dim))
    options = {"dim": dim, **({"device": places[0]} if places else {})}
    return cast(Embedder, maker(name, **options) if name else maker(**options))


def takes_device(model: str) -> bool:
    """Tell whether a model computes on a device that can be chosen.

    Raises:
        ConfigError: no installed package provides the kind.
    """
    return _takes_device(_embedder_maker(model)[0])


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


def _embedder_maker(model: str) -> tuple[Callable[..., object], str]:
    return _model_maker(EMBEDDERS, "model", model, embedder_names(), "Qwen/Qwen3-Embedding-0.6B")


def _takes_device(maker: Callable[..., object]) -> bool:
    return "device" in inspect.signature(maker).parameters


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
    return f"unknown {what} {name!r}{hint}; installed: {', '.join(known)}"
