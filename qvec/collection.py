"""The one thing a user holds: a named set of documents that can be indexed and searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np

from qvec import pipeline, records
from qvec.adapter import Adapter
from qvec.checks import check_name, check_vectors
from qvec.documents import DocumentLike
from qvec.embedder import Embedder
from qvec.embedders.cache_store import VectorCache
from qvec.errors import CollectionNotFoundError, InvalidInputError, PassportMismatchError
from qvec.filters import Where
from qvec.foreign import ForeignAdapter
from qvec.fusion import RANK_CONSTANT, Fusion, FusionSpec, Scaling
from qvec.lexical_weight import weighed
from qvec.long_text import LongText, settle_policy
from qvec.model_choice import ModelChoice
from qvec.opened import Opened
from qvec.pages import Hits, fingerprint, offset_of, page
from qvec.passport import check_passport, passport_of
from qvec.pipeline import IndexProgress, IndexReport
from qvec.ranking import WINDOW
from qvec.registry import load_reranker
from qvec.reranker import Reranker
from qvec.reranking import DEPTH, Budget
from qvec.reranking import rerank as reorder
from qvec.retrieval import Group, Mode, Question, Wanted, check_query
from qvec.translation import with_english
from qvec.types import CollectionSpec, Document, Hit, IndexSpec, LegName, Metric, Vector, Vectors
from qvec.where import to_filter


class Collection:
    """Documents under a name in one database, with the model that their vectors come from.

    Made by `Database.collection`; it exists in the database from the first `index` or `create` on. The model is
    loaded when it is first needed. One object may be used from several threads.
    """

    def __init__(
        self,
        adapter: Adapter,
        name: str,
        *,
        executor: ThreadPoolExecutor,
        choice: ModelChoice | None = None,
        metric: Metric = Metric.COSINE,
        index: IndexSpec | None = None,
        chunker: str = "",
        analyzer: str | None = None,
        long_text: str | None = None,
        cache: VectorCache | None = None,
        default_ef: int | None = None,
    ) -> None:
        self.name = name if isinstance(adapter, ForeignAdapter) else check_name(name)
        self._adapter = adapter
        self._executor = executor
        self._opened = Opened(adapter, self.name, choice=choice or ModelChoice(), analyzer=analyzer, cache=cache)
        self._metric = Metric(metric)
        self._index = index or IndexSpec()
        self._chunker = chunker
        self._analyzer = analyzer
        self._long_text = long_text
        self._default_ef = default_ef
        self._rerankers: dict[str, Reranker] = {}

    @property
    def adapter(self) -> Adapter:
        """The connection, for what a collection has no word for."""
        return self._adapter

    @property
    def embedder(self) -> Embedder:
        """The model: the one given, else the one in the collection's passport, else the default.

        Raises:
            PassportMismatchError: the collection's vectors come from another model, dim or prompt.
            EmbeddingError: the model cannot be loaded.
        """
        return self._opened.model()

    def create(self, *, long_text: LongText | None = None) -> None:
        """Make the collection in the database when it is not there yet.

        Args:
            long_text: what it keeps to, as in `index`; None takes the configured policy, else ``"chunk"``.

        Raises:
            UnsupportedError: the database cannot hold vectors of this dim or metric, or has no analyzers.
            InvalidInputError: the database has no analyzer of this name.
            PassportMismatchError: it is there with another model, dim, prompt, analyzer or `long_text`.
        """
        self._create(long_text)

    def index(
        self,
        docs: Iterable[DocumentLike],
        *,
        prune: bool = False,
        long_text: LongText | None = None,
        progress: Callable[[IndexProgress], None] | None = None,
    ) -> IndexReport:
        """Bring the collection up to date with `docs`: write what is new or changed, skip what is not.

        Documents with one `source` are taken as all that this source has: its other records are deleted.

        Args:
            docs: strings, dicts or Documents, consumed once and lazily; also a single one.
            prune: delete the documents that `docs` does not mention.
            long_text: of a document that is too long for the model (`IndexReport.long` names each): ``"chunk"`` stores
                parts, with ids ``id#part1`` ...; ``"truncate"`` stores it whole and embeds what of it fits; ``"pool"``
                stores it whole with the mean of its pieces' vectors; ``"error"`` reports it as failed. A collection
                keeps to the policy that it was made with; None takes that, for a new one the configured, else
                ``"chunk"``, which alone takes texts over the database's limit.
            progress: called from this thread while the run goes on.

        Returns:
            What was added, updated, left unchanged, deleted, and what failed and why.

        Raises:
            InvalidInputError: `prune` without a single document.
            PassportMismatchError: the collection's vectors come from another model, dim or prompt, or it keeps to
                another `long_text`.
            BackendError: the database failed; a second run goes on from there.
        """
        if isinstance(docs, str | Mapping | Document):
            docs = [docs]
        self._opened.doubt()
        policy = self._create(long_text)
        return pipeline.run(
            self._adapter, self.name, self.embedder, docs, prune=prune, long_text=policy, progress=progress
        )

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents with vectors made elsewhere; one with a known id is replaced, whole.

        A collection that is not there is made, with the vectors' dim; it has a passport only where the model that made
        them was given to `Database.collection`.

        Args:
            documents: ids differ.
            vectors: ``(len(documents), dim)``, finite.

        Raises:
            InvalidInputError: vectors of another shape or dim, duplicate ids, what no database can hold.
            PassportMismatchError: the collection's vectors come from another model than the one given, or than those of
                the collection that had the name when `embedder` was last asked for.
            PartialWriteError: some documents were not written; it names them.
        """
        if not len(documents):
            return
        try:
            self._write(documents, vectors)
        except PassportMismatchError:
            # Who tries again gets the model that the collection has by now.
            self._opened.doubt()
            raise
        self._adapter.refresh(self.name)

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        mode: Mode = "hybrid",
        where: Where = None,
        instruction: str | None = None,
        offset: int = 0,
        cursor: str = "",
        fusion: Fusion | None = None,
        weights: Mapping[LegName, float] | None = None,
        rank_constant: int = RANK_CONSTANT,
        scaling: Scaling = "min-max",
        window: int | None = WINDOW,
        min_score: float | None = None,
        group_by: Group | None = None,
        diversity: float | None = None,
        translate: bool | None = None,
        explain: bool = False,
        ef: int | None = None,
        vector: Sequence[float] | Vector | None = None,
        rerank: str | Reranker | None = None,
        rerank_depth: int = DEPTH,
        rerank_tokens: int | None = None,
        rerank_seconds: float | None = None,
    ) -> Hits:
        """Find the documents that answer a query, best first.

        A hit's `relevance` is its score between 0 and 1. Hybrid: the share of what a hit first in every leg would have.
        Dense: ``max(0, s)`` under cosine, ``1 / (1 + e^-s)`` under the inner product, ``1 / (1 + distance)`` under l2.
        Lexical: ``s / (s + 10)``.

        Args:
            query: in any language that the model knows.
            k: hits wanted.
            mode: ``"dense"`` by meaning, ``"lexical"`` by keyword (BM25), ``"hybrid"`` both, fused.
            where: a filter on metadata, as a string (``"lang = 'py' and stars >= 10"``), dict or condition.
            instruction: the model's task, a preset's name or an English sentence; None takes the model's default.
            offset: hits to skip.
            cursor: the `Hits.cursor` of the page before, instead of `offset`.
            fusion: ``"rrf"`` by rank or ``"linear"`` by scaled score; None takes ``"rrf"``, but with the bundled
                model and no weights ``"linear"`` by raw scores for Chinese and English.
            weights: of the legs; None gives the dense leg 1, the lexical leg what `qvec.lexical_weight.weighed` says.
            rank_constant: of ``"rrf"``.
            scaling: of ``"linear"``: ``"min-max"``, ``"z-score"`` or ``"raw"``.
            window: how deep each leg counts, doubled until ``offset + k`` fit; None for all of it. The first hits stand
                as in the fusion of the whole windows, though no more is read of them than that takes.
            min_score: the least relevance.
            group_by: ``"source"`` gives each document once, as its best part, with the number of its hits.
            diversity: choose among the first hundred those unlike each other (MMR): 0 not at all, 1 by that alone.
            translate: ask the keyword leg also for the English words that a Chinese query's words stand for
                (`qvec.translation`); None does so in ``"hybrid"``.
            explain: read the windows whole, so that a hit names each leg that ranked it, whatever the order needs.
            ef: breadth of an approximate index; None takes what ``qvec tune`` chose, else the adapter's default.
            vector: the query's, made elsewhere: the model is not asked then, and ``"dense"`` needs no `query`.
            rerank: a model that orders the first hits anew, by name (``"Qwen/Qwen3-Reranker-0.6B"``,
                ``"rerank:NAME@http://host:8000/v1"``) or loaded; their scores are then its scores.
            rerank_depth: hits that it scores at most; the others stand behind, as do those beyond the next two limits.
            rerank_tokens: tokens that it reads at most for this query.
            rerank_seconds: time that it takes at most.

        Returns:
            Hits with each leg's rank, score and contribution, and the cursor of the next page; the leg
            ``"rerank"`` notes what was cut or not scored.

        Raises:
            InvalidInputError: an empty query, a number out of range, or the cursor of another search.
            FilterError: `where` cannot be read.
            UnsupportedError: the database has no keyword leg, and the mode needs it.
            CollectionNotFoundError: the collection is not there.
            PassportMismatchError: the collection's vectors come from another model, dim or prompt, or its words from
                another analyzer.
        """
        if mode != "dense" or vector is None or rerank is not None:
            check_query(query)
        if self._analyzer is not None:
            self._opened.known()
        condition = to_filter(where)
        how = FusionSpec(method=fusion or "rrf", weights=weights or {}, rank_constant=rank_constant, scaling=scaling)
        given = None if vector is None else bytes(np.asarray(vector, np.float64))
        settings = (mode, how, window, min_score, group_by, diversity, translate, explain, ef)
        budget = None if rerank is None else Budget(rerank_depth, rerank_tokens, rerank_seconds)
        question = fingerprint(self.name, query, condition, instruction, weights, fusion, given, budget, *settings)
        if cursor and offset:
            raise InvalidInputError("search takes offset or cursor, one of the two")
        wanted = Wanted(
            mode=mode,
            k=k,
            offset=offset_of(cursor, question=question) if cursor else offset,
            window=window,
            min_score=min_score,
            group_by=group_by,
            diversity=diversity,
            explain=explain,
        )

        keywords = with_english(query) if translate or (translate is None and mode == "hybrid") else query

        def ask() -> list[Hit]:
            rows = cache(lambda: self._query_rows(query, instruction, vector))
            breadth = self._default_ef if ef is None else ef
            asked = Question(self._adapter, self.name, keywords, rows, condition, breadth)
            chosen = how
            if mode == "hybrid" and weights is None:
                model = self._opened.model_id(loads=vector is None)
                chosen = weighed(how, query, model=model, free=fusion is None)
            if rerank is None or budget is None:
                return asked.ranked(chosen, wanted, self._executor, lambda: self._opened.known().metric)
            head = replace(wanted, k=max(budget.depth, wanted.end), offset=0)
            fused = asked.ranked(chosen, head, self._executor, lambda: self._opened.known().metric)
            best = reorder(self._reranker(rerank), query, fused, budget, instruction=instruction)
            return best[wanted.offset : wanted.end]

        if mode == "lexical" or vector is not None:
            self._opened.look_again()
        try:
            hits = ask()
        except InvalidInputError:
            # The vector of the model before a swap; the next try takes the model after it.
            if vector is not None or mode == "lexical" or not self._opened.is_replaced():
                raise
            hits = ask()
        return page(hits, k=k, offset=wanted.offset, question=question, keywords="" if mode == "dense" else keywords)

    def get(self, ids: str | Sequence[str]) -> list[Document]:
        """Return documents in the caller's order; one that was cut comes as its parts; unknown ids are skipped."""
        return records.read(self._adapter, self.name, [ids] if isinstance(ids, str) else list(ids))

    def delete(self, ids: str | Sequence[str] | None = None, *, where: Where = None) -> int:
        """Delete documents with all their parts, by id, by source or by filter; unknown ids are ignored.

        Returns:
            How many records went.

        Raises:
            InvalidInputError: neither ids nor a filter, or both.
        """
        condition = to_filter(where)
        if (ids is None) == (condition is None):
            raise InvalidInputError("delete takes ids or where, one of the two")
        if ids is None:
            return records.delete_matching(self._adapter, self.name, condition)
        return records.delete(self._adapter, self.name, [ids] if isinstance(ids, str) else list(ids))

    def clear(self) -> None:
        """Delete all documents; the collection stays, with its shape and passport.

        Raises:
            CollectionNotFoundError: it is not there.
        """
        spec = self.describe()
        self._adapter.drop_collection(self.name)
        self._adapter.create_collection(spec)

    def count(self, where: Where = None) -> int:
        """Count the records, or those that a filter matches."""
        return self._adapter.count(self.name, filter=to_filter(where))

    def describe(self) -> CollectionSpec:
        """Return the collection's shape and passport as the database reports them."""
        return self._adapter.describe_collection(self.name)

    def drop(self, *, missing_ok: bool = False) -> None:
        """Delete the collection with all that is in it."""
        self._adapter.drop_collection(self.name, missing_ok=missing_ok)
        self._opened.forget()

    def _create(self, long_text: LongText | None) -> LongText:
        embedder = self._opened.model()
        policy = settle_policy(long_text, None, default=self._long_text)
        passport = passport_of(embedder, chunker=self._chunker, analyzer=self._opened.analyzer, long_text=policy)
        spec = CollectionSpec(self.name, embedder.dim, self._metric, self._index, passport, self._opened.analyzer)
        self._adapter.create_collection(spec, exist_ok=True)
        made = self.describe()
        check_passport(made, embedder)
        return settle_policy(long_text, made, default=self._long_text)

    def _query_rows(self, query: str, instruction: str | None, vector: Sequence[float] | Vector | None) -> Vectors:
        if vector is not None:
            return check_vectors(np.asarray(vector)[None], len(vector))
        self._opened.check_there()
        return self._opened.model().encode_query([query], instruction=instruction)

    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        spec = self._spec_for(vectors)
        rows = check_vectors(vectors, spec.dim)
        size = max(1, self._adapter.capabilities.write_batch)
        for start in range(0, len(documents), size):
            end = start + size
            self._adapter.upsert(self.name, documents[start:end], rows[start:end], passport=spec.passport)

    def _spec_for(self, vectors: Vectors) -> CollectionSpec:
        """Say what vectors made elsewhere were made for; where nothing is there yet, make it."""
        if self._opened.embedder is not None:
            before = self._opened.found
            self.create()
            return before or self.describe()
        try:
            return self._opened.described()
        except CollectionNotFoundError:
            dim = len(vectors[0]) if self._opened.choice.dim is None else self._opened.choice.dim
            spec = CollectionSpec(self.name, dim, self._metric, self._index, analyzer=self._analyzer)
            self._adapter.create_collection(spec, exist_ok=True)
            return spec

    def _reranker(self, rerank: str | Reranker) -> Reranker:
        if isinstance(rerank, str) and rerank not in self._rerankers:
            self._rerankers[rerank] = load_reranker(rerank)
        return self._rerankers[rerank] if isinstance(rerank, str) else rerank
