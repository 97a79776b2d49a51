"""A connection to one database, and the collections in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from qvec import config, tuned
from qvec.adapter import Adapter
from qvec.attaching import SupportsAttach
from qvec.collection import Collection
from qvec.embedder import Embedder
from qvec.embedders.cache import open_cache
from qvec.embedders.cache_store import VectorCache
from qvec.errors import CollectionNotFoundError, UnsupportedError
from qvec.foreign import SupportsLayout, with_layout
from qvec.layouts import FieldMap, Layout, to_layout
from qvec.model_choice import ModelChoice
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, IndexSpec, Metric
from qvec.uri import URI


class Database:
    """One database; closed by ``with`` or `close`.

    Args:
        adapter: the connection, which this object then owns.
        model: name of the model for new collections; None for the default.
        dim: width to cut the model's vectors to; None for its own.
        cache: where vectors are kept, which this object then owns; None: they are not.
        device: where models compute, as asked for; ``"cuda:0,cuda:1"`` names several.
        default_device: where those models compute that have the choice.
        long_text: of new collections, as `Collection.index` says; None for ``"chunk"``.
        tuned: collection -> breadth of its approximate search where the caller gives none.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        model: str | None = None,
        dim: int | None = None,
        cache: VectorCache | None = None,
        device: str | None = None,
        default_device: str | None = None,
        long_text: str | None = None,
        tuned: Mapping[str, int] | None = None,
    ) -> None:
        self.adapter = adapter
        self._model = model
        self._dim = dim
        self._cache = cache
        self._device = device
        self._default_device = default_device
        self._long_text = long_text
        self._tuned = dict(tuned or {})
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="qvec-search")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; a second call does nothing."""
        self._executor.shutdown()
        self.adapter.close()
        if self._cache is not None:
            self._cache.close()

    def collection(
        self,
        name: str,
        *,
        model: str | None = None,
        dim: int | None = None,
        embedder: Embedder | None = None,
        metric: Metric = Metric.COSINE,
        index: IndexSpec | None = None,
        chunker: str = "",
        analyzer: str | None = None,
    ) -> Collection:
        """Name a collection, which need not be there yet.

        Args:
            name: ASCII letters, digits and underscores, 48 at most.
            model: the model's name; None takes the one in the collection's passport, else this database's default.
            dim: width to cut the model's vectors to; None takes the passport's, else the model's own.
            embedder: a model that is loaded already, instead of `model` and `dim`.
            metric: for a new collection.
            index: for a new collection.
            chunker: what cuts the documents, to be noted in a new collection's passport.
            analyzer: the database's own that cuts texts and queries into words (``"english"``), for a new collection,
                instead of qvec's keyword tokens; `Capabilities.analyzers` names them. None takes the collection's own.

        Raises:
            InvalidInputError: the name cannot be used.
        """
        return Collection(
            self._adapter_of(name),
            name,
            executor=self._executor,
            choice=ModelChoice(
                model=model,
                dim=dim,
                embedder=embedder,
                default_model=self._model,
                default_dim=self._dim,
                device=self._device,
                default_device=self._default_device,
            ),
            metric=metric,
            index=index,
            chunker=chunker,
            analyzer=analyzer,
            long_text=self._long_text,
            cache=self._cache,
            default_ef=self._tuned.get(name),
        )

    def _adapter_of(self, name: str) -> Adapter:
        """Read an index that was attached by its own names; all else is of qvec's making, or to be."""
        if isinstance(self.adapter, SupportsAttach) and isinstance(self.adapter, SupportsLayout):
            try:
                form = self.adapter.attached_form(name)
            except (CollectionNotFoundError, UnsupportedError):
                form = None
            if form is not None:
                return self.adapter.with_layout(to_layout(form.layout))
        return self.adapter

    def collections(self) -> list[str]:
        """Name the collections, sorted."""
        return self.adapter.list_collections()

    def describe(self, name: str) -> CollectionSpec:
        """Return a collection's shape and passport.

        Raises:
            CollectionNotFoundError: it is not there.
        """
        return self._adapter_of(name).describe_collection(name)

    def drop(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete a collection with all that is in it.

        Raises:
            CollectionNotFoundError: it is not there, and `missing_ok` is false.
        """
        self.adapter.drop_collection(name, missing_ok=missing_ok)


def connect(
    backend: str | URI | None = None,
    *,
    model: str | None = None,
    dim: int | None = None,
    device: str | None = None,
    cache: bool | str | None = None,
    layout: str | FieldMap | Layout | None = None,
) -> Database:
    """Open a database.

    Args:
        backend: a URI (``postgresql://me@host/db``, ``milvus:///file.db``), a backend's name (its profile, else its
            embedded database under ``./.qvec``), a profile's name, or None for what ``QVEC_BACKEND``, ``qvec.toml`` and
            the user's configuration say.
        model: name of the model for new collections.
        dim: width to cut the model's vectors to.
        device: where a model of torch computes: ``"cpu"``, ``"cuda:1"``, ``"mps"``, or several that share the work,
            ``"cuda:0,cuda:1"``; None takes the configured one, else the best there is.
        cache: keep vectors, so that no text is embedded twice: True for the user's cache folder, a folder, or a
            ``redis://`` URL; None takes what ``QVEC_CACHE`` and the files say, else none.
        layout: read what another program wrote, where it lies: ``"langchain"``, ``"llamaindex"`` or a
            `qvec.layouts.FieldMap`. `model` then names the one that made its vectors. Every write is an error.

    Raises:
        UnsupportedError: the backend reads no other program's collections.
        ConfigError: the layout is unknown; the configuration, the URI or the cache cannot be used.
        UnknownAdapterError: no installed package provides the backend.
        MissingDriverError: its driver is not installed; the message has the pip line.
        BackendConnectionError: the database cannot be reached, opened or logged in to.
    """
    chosen = None if layout is None else to_layout(layout)
    settings = config.resolve(backend, model=model, dim=dim, cache=cache, env=os.environ, cwd=Path.cwd())
    choices = tuned.remembered(Path.cwd() / config.FOLDER_NAME, settings.uri)
    kept = open_cache(settings.cache) if settings.cache else None
    try:
        adapter = open_adapter(settings.uri)
        if chosen is not None:
            # The configured model is for what qvec writes; only the caller knows whose another program's vectors are.
            return Database(with_layout(adapter, chosen), model=model, dim=dim, cache=kept, device=device)
        return Database(
            adapter,
            model=settings.model,
            dim=settings.dim,
            cache=kept,
            device=device,
            default_device=settings.device,
            long_text=settings.long_text,
            tuned=choices,
        )
    except BaseException:
        if kept is not None:
            kept.close()
        raise
