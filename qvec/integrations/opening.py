"""What the frameworks' stores share: opening a collection, and choosing hits that are unlike each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np

from qvec.collection import Collection
from qvec.database import Database, connect
from qvec.diversity import marginal_relevance
from qvec.embedder import Embedder
from qvec.types import Hit, IndexSpec, Metric


def open_collection(
    database: Database | str | None,
    name: str,
    *,
    embedder: Embedder | None = None,
    metric: Metric = Metric.COSINE,
    index: IndexSpec | None = None,
) -> tuple[Collection, Callable[[], None]]:
    """Open a collection.

    Args:
        database: an open one, or what `qvec.connect` takes.
        name: the collection's.
        embedder: None takes the model in the collection's passport, else the default one.
        metric: of a new collection.
        index: of a new collection.

    Returns:
        The collection, and what closes its database if that was opened here, and else does nothing.

    Raises:
        ConfigError: the database cannot be told from its name.
        BackendConnectionError: it cannot be reached.
    """
    with ExitStack() as closing:
        opened = database if isinstance(database, Database) else closing.enter_context(connect(database))
        collection = opened.collection(name, embedder=embedder, metric=metric, index=index)
        return collection, closing.pop_all().close


def unlike(
    collection: Collection, vector: Sequence[float], near: Sequence[Hit], *, k: int, balance: float
) -> list[Hit]:
    """Choose hits that are near a vector and unlike each other.

    Args:
        collection: that they were found in.
        vector: what was asked.
        near: the hits to choose from, best first; one that was deleted meanwhile is left out.
        k: how many to choose.
        balance: 1 asks for nearness alone, 0 for difference alone.

    Returns:
        The chosen hits, in the order of their choice.

    Raises:
        InvalidInputError: `balance` outside 0..1.
    """
    vectors = collection.adapter.get_vectors(collection.name, [hit.id for hit in near]) if near else {}
    held = [hit for hit in near if hit.id in vectors]
    if not held:
        return []
    rows = np.stack([vectors[hit.id] for hit in held])
    return [held[at] for at in marginal_relevance(np.asarray(vector, np.float32), rows, k=k, balance=balance)]
