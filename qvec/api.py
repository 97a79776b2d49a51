"""The two calls that most programs need; each opens the database, does its work and closes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from qvec.database import connect
from qvec.documents import DocumentLike
from qvec.embedder import Embedder
from qvec.filters import Where
from qvec.fusion import RANK_CONSTANT, Fusion, Scaling
from qvec.long_text import LongText
from qvec.pages import Hits
from qvec.pipeline import IndexProgress, IndexReport
from qvec.ranking import WINDOW
from qvec.reranker import Reranker
from qvec.reranking import DEPTH
from qvec.retrieval import Group, Mode
from qvec.types import LegName


def index(
    collection: str,
    docs: Iterable[DocumentLike],
    *,
    backend: str | None = None,
    model: str | None = None,
    dim: int | None = None,
    device: str | None = None,
    embedder: Embedder | None = None,
    analyzer: str | None = None,
    cache: bool | str | None = None,
    prune: bool = False,
    long_text: LongText | None = None,
    progress: Callable[[IndexProgress], None] | None = None,
) -> IndexReport:
    """Bring a collection up to date with `docs`; make it when it is not there.

    Args:
        collection: its name.
        docs: strings, dicts or Documents, consumed once and lazily.
        backend: a URI, a backend's or a profile's name; None for the configured one, else FAISS under ``./.qvec``.
        model: the model's name; None takes the collection's own, else the default.
        dim: width to cut the model's vectors to.
        device: where a model of torch computes, as `qvec.connect` says.
        embedder: a model that is loaded already, instead of `model`, `dim` and `device`.
        analyzer: the database's own that cuts texts and queries into words, such as PostgreSQL's and Elasticsearch's
            ``"english"``, for a new collection; None takes the collection's own, else qvec's keyword tokens.
        cache: keep vectors, so that no text is embedded twice: True for the user's cache folder, a folder, or a
            ``redis://`` URL; None takes the configured one, else none.
        prune: delete the documents that `docs` does not mention.
        long_text: what becomes of a document that is too long for the model: ``"chunk"``, ``"truncate"``, ``"pool"`` or
            ``"error"``, as `Collection.index` says; a collection keeps to the one that it was made with.
        progress: called while the run goes on.

    Returns:
        What was added, updated, left unchanged, deleted, and what failed and why.

    Raises:
        QvecError: as `qvec.connect` and `Collection.index` say.
    """
    with connect(backend, model=model, dim=dim, device=device, cache=cache) as database:
        chosen = database.collection(collection, model=model, dim=dim, embedder=embedder, analyzer=analyzer)
        return chosen.index(docs, prune=prune, long_text=long_text, progress=progress)


def search(
    collection: str,
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
    backend: str | None = None,
    model: str | None = None,
    dim: int | None = None,
    device: str | None = None,
    embedder: Embedder | None = None,
    rerank: str | Reranker | None = None,
    rerank_depth: int = DEPTH,
    rerank_tokens: int | None = None,
    rerank_seconds: float | None = None,
) -> Hits:
    """Find the documents of a collection that answer a query, best first.

    Args:
        collection: its name.
        query: in any language that the model knows.
        k: hits wanted.
        mode: ``"dense"`` by meaning, ``"lexical"`` by keyword, ``"hybrid"`` both.
        where: a filter on metadata.
        instruction: the model's task, a preset's name or an English sentence.
        offset: hits to skip.
        cursor: the `Hits.cursor` of the page before, instead of `offset`.
        fusion: ``"rrf"`` by rank or ``"linear"`` by scaled score; None as `Collection.search` says.
        weights: of the legs.
        rank_constant: of ``"rrf"``.
        scaling: of ``"linear"``: ``"min-max"``, ``"z-score"`` or ``"raw"``.
        window: how deep each leg counts at most.
        min_score: the least `Hit.relevance`, from 0 to 1.
        group_by: ``"source"`` gives each document once, as its best part.
        diversity: from 0 to 1, how much hits should differ from each other.
        translate: ask the keyword leg also for the English words of a Chinese query; None does so in ``"hybrid"``.
        explain: name every leg that ranked a hit within the window.
        backend: a URI, a backend's or a profile's name; None for the configured one, else FAISS under ``./.qvec``.
        model: the model's name; None takes the collection's own.
        dim: width to cut the model's vectors to; None takes the collection's own.
        device: where a model of torch computes, as `qvec.connect` says.
        embedder: a model that is loaded already, instead of `model`, `dim` and `device`.
        rerank: a model that orders the first hits anew, by name or loaded.
        rerank_depth: hits that it scores at most; the others stand behind, as do those beyond the next two limits.
        rerank_tokens: tokens that it reads at most.
        rerank_seconds: time that it takes at most.

    Returns:
        Hits with each leg's rank and score, and the cursor of the next page.

    Raises:
        QvecError: as `qvec.connect` and `Collection.search` say.
    """
    with connect(backend, model=model, dim=dim, device=device) as database:
        chosen = database.collection(collection, model=model, dim=dim, embedder=embedder)
        return chosen.search(
            query,
            k=k,
            mode=mode,
            where=where,
            instruction=instruction,
            offset=offset,
            cursor=cursor,
            fusion=fusion,
            weights=weights,
            rank_constant=rank_constant,
            scaling=scaling,
            window=window,
            min_score=min_score,
            group_by=group_by,
            diversity=diversity,
            translate=translate,
            explain=explain,
            rerank=rerank,
            rerank_depth=rerank_depth,
            rerank_tokens=rerank_tokens,
            rerank_seconds=rerank_seconds,
        )
