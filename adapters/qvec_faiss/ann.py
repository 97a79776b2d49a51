"""The FAISS index of a collection: built from the store, kept as a snapshot file, thrown away when it is no good."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qvec.errors import ConfigError, MissingDriverError
from qvec.types import CollectionSpec, IndexKind, Metric, Vectors
from qvec_faiss.mirror import Ints, read_vectors

log = logging.getLogger(__name__)

AUTO_FLAT = 20_000
"""Up to so many documents, ``auto`` searches exactly: a few milliseconds, and no neighbour missed."""

_BLOCK = 8192
_REBUILD_DEAD_SHARE = 0.2
_REBUILD_TAIL_SHARE = 0.1
_TAIL = 1000
_DEFAULT_EF = 128


@dataclass(frozen=True, slots=True)
class Ann:
    """An index over some of a collection's seqs, which are its ids.

    Attributes:
        index: ``faiss.IndexIDMap2``.
        ids: the seqs in it, in its own order.
        on_gpu: it takes no filter there, and is brought back to be saved.
        seqs: the same, ascending.
        inner: the index inside, not the map around it: the map looks ids up on all cores, which waits for a busy one.
        by_place: `ids` and a -1, which is what the place -1 of nothing found gives.
        is_graph: it is HNSW, on the CPU.
    """

    index: Any
    ids: Ints
    on_gpu: bool = False
    seqs: Ints = field(init=False)
    inner: Any = field(init=False)
    by_place: Ints = field(init=False)
    is_graph: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seqs", np.sort(self.ids))
        object.__setattr__(self, "inner", None if self.on_gpu else faiss().downcast_index(self.index.index))
        object.__setattr__(self, "by_place", np.append(self.ids, -1))
        object.__setattr__(self, "is_graph", hasattr(self.inner, "hnsw"))


def faiss() -> Any:
    """Load the driver; only an index needs it, so a small collection is opened without."""
    try:
        import faiss as driver
    except ImportError as exc:
        raise MissingDriverError("faiss", "faiss") from exc
    return driver


def gpus(device: str) -> int:
    """Count the GPUs to use; only a FAISS that was built for them is loaded to ask.

    Raises:
        ConfigError: a GPU is demanded, and FAISS sees none.
    """
    if device == "cpu" or (device == "auto" and not _built_for_gpu()):
        return 0
    seen = int(getattr(faiss(), "get_num_gpus", int)())
    if device == "gpu" and not seen:
        raise ConfigError('device=gpu, but FAISS sees no GPU: pip install "qvec[faiss-gpu]", or take device=auto')
    return seen


def kind_for(spec: CollectionSpec, documents: int) -> IndexKind:
    """Say which index a collection of this size has."""
    if spec.index.kind != "auto":
        return spec.index.kind
    return "hnsw" if documents > AUTO_FLAT else "flat"


def is_stale(ann: Ann | None, live: Ints) -> bool:
    """Tell whether too much was added or deleted since the index was built."""
    if ann is None:
        return True
    kept = _kept(ann, live)
    dead, tail = len(ann.seqs) - kept, len(live) - kept
    return dead > _REBUILD_DEAD_SHARE * len(ann.seqs) or tail > max(_TAIL, _REBUILD_TAIL_SHARE * len(live))


def may_grow(ann: Ann, live: Ints) -> bool:
    """Tell whether an index can be brought up to date by adding to it: a graph of which little is dead."""
    return ann.is_graph and len(ann.seqs) - _kept(ann, live) <= _REBUILD_DEAD_SHARE * len(ann.seqs)


def _kept(ann: Ann, live: Ints) -> int:
    return int(np.isin(ann.seqs, live, assume_unique=True).sum())


def begin(spec: CollectionSpec) -> Ann:
    """Make an empty graph."""
    driver = faiss()
    return Ann(driver.IndexIDMap2(_graph(driver, spec)), np.empty(0, np.int64))


def clone(ann: Ann) -> Ann:
    """Copy an index, so that searches may go on in the one while the other is added to."""
    return Ann(faiss().clone_index(ann.index), ann.ids, ann.on_gpu)


def extend(
    ann: Ann,
    connection: sqlite3.Connection,
    number: int,
    spec: CollectionSpec,
    seqs: Ints,
    *,
    size: int = _BLOCK,
    go_on: Callable[[], bool] = lambda: True,
) -> Ann:
    """Add documents from the store, a block of `size` at a time; the index given is not to be used any more.

    Args:
        ann: the index.
        connection: to the store.
        number: of the collection.
        spec: of the collection.
        seqs: ascending.
        size: of a block; all cores wait for the last of them at its end.
        go_on: is asked before each block.
    """
    for start in range(0, len(seqs), size):
        if not go_on():
            break
        block, vectors = read_vectors(connection, number, seqs[start : start + size], spec.dim, spec.metric)
        ann.index.add_with_ids(vectors, block)
    return Ann(ann.index, faiss().vector_to_array(ann.index.id_map), ann.on_gpu)


def build(connection: sqlite3.Connection, number: int, spec: CollectionSpec, live: Ints, *, gpu: bool) -> Ann:
    """Build the index from the store."""
    driver = faiss()
    index = driver.IndexIDMap2(_empty(driver, spec, len(live)))
    if not index.is_trained:
        every = max(1, len(live) // 50_000)
        index.train(read_vectors(connection, number, live[::every], spec.dim, spec.metric)[1])
    built = extend(Ann(index, np.empty(0, np.int64)), connection, number, spec, live)
    if gpu and kind_for(spec, len(live)) != "hnsw":
        return Ann(driver.index_cpu_to_all_gpus(index), built.ids, on_gpu=True)
    return built


def save(ann: Ann, path: Path) -> None:
    """Write the snapshot beside and move it into place, so that no reader meets half a file."""
    driver = faiss()
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    driver.write_index(driver.index_gpu_to_cpu(ann.index) if ann.on_gpu else ann.index, str(beside))
    beside.replace(path)


def load(path: Path, spec: CollectionSpec, last_seq: int) -> Ann | None:
    """Read the snapshot; None when there is none, or it is damaged or not of this collection."""
    if not path.is_file():
        return None
    driver = faiss()
    try:
        index = driver.read_index(str(path))
        ids = driver.vector_to_array(index.id_map)
    except (RuntimeError, AttributeError) as exc:
        log.warning("the FAISS snapshot %s cannot be read and will be built again: %s", path, exc)
        return None
    if index.d != spec.dim or (len(ids) and ids.max() > last_seq):
        log.warning("the FAISS snapshot %s is of another collection and will be built again", path)
        return None
    return Ann(index, ids)


def search(
    ann: Ann, vectors: Vectors, k: int, allowed: Ints | None, ef: int | None
) -> tuple[NDArray[np.float32], Ints]:
    """Ask the index for the nearest ids, best first, -1 where there are none.

    Args:
        ann: the index.
        vectors: ``(n, dim)``, prepared.
        k: ids wanted.
        allowed: the only ids that may come back; None for all.
        ef: HNSW breadth, or number of IVF cells.
    """
    if ann.on_gpu:
        return ann.index.search(vectors, k)  # type: ignore[no-any-return]
    scores, places = ann.inner.search(vectors, k, params=_parameters(ann, k, allowed, ef))
    return scores, ann.by_place[places]


def _parameters(ann: Ann, k: int, allowed: Ints | None, ef: int | None) -> Any:
    breadth = max(ef or _DEFAULT_EF, k)
    if ann.is_graph and allowed is None:
        return _breadth(breadth)
    driver = faiss()
    selector = None
    if allowed is not None:
        selector = driver.IDSelectorBitmap(np.packbits(np.isin(ann.ids, allowed), bitorder="little"))
    # FAISS keeps the selector alive only when it is given to the constructor.
    if ann.is_graph:
        return driver.SearchParametersHNSW(sel=selector, efSearch=breadth)
    if isinstance(ann.inner, driver.IndexIVF):
        nprobe = min(ef or _default_nprobe(ann.inner), ann.inner.nlist)
        return driver.SearchParametersIVF(sel=selector, nprobe=nprobe)
    return driver.SearchParameters(sel=selector)


@lru_cache(maxsize=64)
def _breadth(ef: int) -> Any:
    return faiss().SearchParametersHNSW(efSearch=ef)


def _built_for_gpu() -> bool:
    for distribution in ("faiss-gpu-cu12", "faiss-gpu-cu11", "faiss-gpu"):
        try:
            return bool(version(distribution))
        except PackageNotFoundError:
            continue
    return False


def _default_nprobe(inner: Any) -> int:
    return max(8, int(inner.nlist) // 8)


def _metric(driver: Any, spec: CollectionSpec) -> Any:
    return driver.METRIC_L2 if spec.metric is Metric.L2 else driver.METRIC_INNER_PRODUCT


def _graph(driver: Any, spec: CollectionSpec) -> Any:
    index = driver.IndexHNSWFlat(spec.dim, spec.index.m, _metric(driver, spec))
    index.hnsw.efConstruction = spec.index.ef_construction
    return index


def _empty(driver: Any, spec: CollectionSpec, documents: int) -> Any:
    metric = _metric(driver, spec)
    kind = kind_for(spec, documents)
    if kind == "hnsw":
        return _graph(driver, spec)
    if kind == "ivf":
        # FAISS wants about 39 points a cell to train on; 4 sqrt(n) cells is its own rule of thumb.
        cells = spec.index.nlist or max(1, min(int(4 * documents**0.5), documents // 39))
        quantizer = driver.IndexFlat(spec.dim, metric)
        index = driver.IndexIVFFlat(quantizer, spec.dim, min(cells, max(documents, 1)), metric)
        index.own_fields = True
        quantizer.this.disown()
        return index
    return driver.IndexFlat(spec.dim, metric)
