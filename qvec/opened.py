"""What is known of a collection that is open: its shape as the database told it, and the model that goes with it."""

from __future__ import annotations

from time import monotonic

from qvec.adapter import Adapter
from qvec.embedder import Embedder
from qvec.embedders.cache import CachedEmbedder
from qvec.embedders.cache_store import VectorCache
from qvec.errors import CollectionNotFoundError
from qvec.foreign import ForeignAdapter
from qvec.model_choice import ModelChoice
from qvec.passport import check_analyzer, check_passport
from qvec.types import CollectionSpec

_SURE_SECONDS = 1.0
"""So long a collection is taken for the one that it was: a swap may put another in its place at any time."""


class Opened:
    """A collection's spec and model, looked up when they are needed and again after a while.

    Args:
        adapter: where it lies.
        name: its own.
        choice: of the model.
        analyzer: what it must be cut by; None for whatever it is.
        cache: for the model's vectors.
    """

    def __init__(
        self, adapter: Adapter, name: str, *, choice: ModelChoice, analyzer: str | None, cache: VectorCache | None
    ) -> None:
        self.choice = choice
        self.embedder = choice.embedder
        self.found: CollectionSpec | None = None
        self._adapter = adapter
        self._name = name
        self._analyzer = analyzer
        self._cache = cache
        self._sure_until = 0.0

    @property
    def analyzer(self) -> str | None:
        """What cuts its texts into words: the collection's own, else the one asked for."""
        return self.found.analyzer if self.found else self._analyzer

    def forget(self) -> None:
        """Take nothing for known that was looked up."""
        self._sure_until = 0.0
        self.found = None

    def doubt(self) -> None:
        """Look it up again when it is next asked for."""
        self._sure_until = 0.0

    def known(self) -> CollectionSpec:
        """Return its spec as last looked up."""
        if self.found is None:
            self.found = self.described()
        return self.found

    def described(self) -> CollectionSpec:
        """Look its spec up.

        Raises:
            CollectionNotFoundError: it is not there.
            PassportMismatchError: it is cut into words by another analyzer than the one asked for.
        """
        spec = self._adapter.describe_collection(self._name)
        check_analyzer(spec, self._analyzer)
        return spec

    def check_there(self) -> None:
        """Look it up unless that was just done."""
        if not self._is_sure:
            self.described()

    def look_again(self) -> None:
        """Let the adapter notice what stands under the name now; with a model, `model` does so."""
        if not self._is_sure:
            self.described()
            self._sure_until = monotonic() + _SURE_SECONDS if self.embedder is None else 0.0

    def is_replaced(self) -> bool:
        """Tell whether another collection has taken this one's place, and take its model then."""
        before, self._sure_until = self.found, 0.0
        self.model()
        return self.found != before

    def model_id(self, *, loads: bool) -> str:
        """Name the model, of the passport alone where it need not be loaded."""
        if loads or self.embedder is not None:
            return self.model().model_id
        passport = self._adapter.describe_collection(self._name).passport
        return passport.model_id if passport else ""

    def model(self) -> Embedder:
        """Return the model, loaded and checked against the passport.

        Raises:
            PassportMismatchError: the collection's vectors come from another model, dim or prompt.
            EmbeddingError: the model cannot be loaded.
        """
        if self._is_sure and self.embedder is not None:
            return self.embedder
        try:
            spec: CollectionSpec | None = self.described()
        except CollectionNotFoundError:
            spec = None
        is_other = spec is not None and self.found is not None and spec.passport != self.found.passport
        if self.embedder is None or (is_other and self.choice.is_the_collections):
            if isinstance(self._adapter, ForeignAdapter) and not (spec and spec.passport):
                self.choice.check_named(self._name)
            self.embedder = self.choice.load(spec.passport if spec else None)
        if self._cache is not None and not isinstance(self.embedder, CachedEmbedder):
            self.embedder = CachedEmbedder(self.embedder, self._cache)
        if spec:
            check_passport(spec, self.embedder)
            self._sure_until = monotonic() + _SURE_SECONDS
            self.found = spec
        return self.embedder

    @property
    def _is_sure(self) -> bool:
        return monotonic() < self._sure_until
