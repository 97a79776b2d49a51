"""qvec inside mteb: its models as an encoder, and a database with both legs and the fusion as a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qvec.collection import Collection
from qvec.database import Database
from qvec.embedder import Embedder
from qvec.errors import InvalidInputError, MissingDriverError, TextTooLongError
from qvec.filters import Condition, Field
from qvec.registry import DEFAULT_MODEL, load_embedder
from qvec.retrieval import Mode
from qvec.types import TITLE, Document, Vectors

try:
    from mteb.models.model_meta import ModelMeta
    from mteb.similarity_functions import cos_sim, pairwise_cos_sim
    from mteb.types import PromptType
except ImportError as exc:
    raise MissingDriverError("mteb", "mteb") from exc

_KEY = "mteb_id"
_MOST = 16_384


class QvecEncoder:
    """Encode for any task of mteb. Queries get the task's instruction, else the model's default; documents get none.

    A text that is over the model's window is cut, as every encoder of mteb cuts it.

    Args:
        model_name: a name that `qvec.registry.load_embedder` knows.
        revision: as mteb's command line hands it on; the weights' own fingerprint is reported.
        device: taken for mteb's command line; the model chooses its own.
        dim: width to cut vectors to.
        instruction: for the queries of all tasks, a preset's name or a sentence.
        embedder: a loaded model, instead of the name.
    """

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        revision: str | None = None,
        *,
        device: str | None = None,
        dim: int | None = None,
        instruction: str | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self.embedder = embedder or load_embedder(model_name, dim=dim)
        self._instruction = instruction

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb files results under."""
        return _meta(self.embedder, "")

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str | None = None,
    ) -> Vectors:
        """Embed batches of texts: as documents where mteb says so, else as queries with an instruction.

        Args:
            inputs: batches with ``"text"``.
            task_metadata: its prompt is the instruction.
            hf_split: not used.
            hf_subset: not used.
            prompt_type: query or document; None, as in classification, is a query.
            batch_size: not used: the model forms batches by length.
            show_progress_bar: not used.
            precision: must be None or ``"float32"``.

        Returns:
            float32 ``(n, dim)``, rows of unit length.

        Raises:
            InvalidInputError: another precision.
            EmbeddingError: a text cannot be embedded.
        """
        if precision not in {None, "float32"}:
            raise InvalidInputError(f"precision={precision!r}: qvec's vectors are float32")
        instruction = self._instruction or task_instruction(task_metadata)
        rows = [np.empty((0, self.embedder.dim), np.float32)]
        for batch in inputs:
            if prompt_type is PromptType.document:
                rows.append(_cut_to_fit(batch["text"], self.embedder.encode_document))
            else:
                rows.append(
                    _cut_to_fit(batch["text"], lambda texts: self.embedder.encode_query(texts, instruction=instruction))
                )
        return np.concatenate(rows)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare all with all by cosine."""
        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare pair by pair by cosine."""
        return pairwise_cos_sim(embeddings1, embeddings2)


class QvecSearch:
    """Judge the whole product: a database with its index, both legs, the fusion, and filters in reranking tasks.

    Args:
        database: any; the corpus of each task replaces the collection.
        mode: ``"hybrid"``, ``"dense"`` or ``"lexical"``.
        collection: its name; what it holds is deleted.
        embedder: a loaded model; None takes the database's.
        instruction: for the queries of all tasks; None takes the task's, else the model's default.
    """

    def __init__(
        self,
        database: Database,
        *,
        mode: Mode = "hybrid",
        collection: str = "mteb",
        embedder: Embedder | None = None,
        instruction: str | None = None,
    ) -> None:
        self._database = database
        self._mode = mode
        self._name = collection
        self._embedder = embedder
        self._instruction = instruction
        self._collection = self._open()

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb files results under: model, backend and mode."""
        return _meta(self._collection.embedder, f"-{self._database.adapter.name}-{self._mode}")

    def index(
        self,
        corpus: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Mapping[str, Any],
        num_proc: int | None = None,
    ) -> None:
        """Write a corpus into the emptied collection: long texts as parts, empty ones (mteb has some) not at all.

        Raises:
            InvalidInputError: the database or the model refused a document.
            BackendError: the database failed.
        """
        self._database.drop(self._name, missing_ok=True)
        self._collection = self._open()
        report = self._collection.index(_documents(corpus))
        if report.failed:
            identity, reason = next(iter(report.failed.items()))
            raise InvalidInputError(f"{len(report.failed)} documents were not indexed; first {identity!r}: {reason}")

    def search(
        self,
        queries: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Mapping[str, Any],
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        num_proc: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """Search for each query; in a reranking task among its candidates alone, by a filter.

        Returns:
            Query id -> document id -> score, at most `top_k` each.
        """
        instruction = self._instruction or task_instruction(task_metadata)
        found = {}
        for query in queries:
            among = None if top_ranked is None else Field(_KEY).is_in(list(top_ranked[query["id"]]))
            found[str(query["id"])] = self._best(_query_text(query), top_k, instruction, among)
        return found

    def _best(self, query: str, top_k: int, instruction: str | None, among: Condition | None) -> dict[str, float]:
        k = top_k
        while True:
            hits = self._collection.search(query, k=k, mode=self._mode, where=among, instruction=instruction)
            best: dict[str, float] = {}
            for hit in hits:
                best.setdefault(hit.document.source, hit.score)
            if len(best) >= top_k or len(hits) < k or 2 * k > _MOST:
                return dict(list(best.items())[:top_k])
            k *= 2

    def _open(self) -> Collection:
        return self._database.collection(self._name, embedder=self._embedder)


def task_instruction(task_metadata: Any) -> str | None:
    """Read a task's instruction for queries; None where it has none."""
    prompt = task_metadata.prompt
    found = prompt.get("query") if isinstance(prompt, Mapping) else prompt
    return str(found) if found else None


def _meta(embedder: Embedder, suffix: str) -> Any:
    name = embedder.model_id.rpartition(":")[2].rstrip("/").rpartition("/")[2]
    return ModelMeta.create_empty(
        {
            "name": f"qvec/{name}{suffix}",
            "revision": f"{embedder.revision[:12]}-{embedder.dim}",
            "embed_dim": embedder.dim,
            "max_tokens": embedder.max_tokens,
            "similarity_fn_name": "cosine",
            "use_instructions": True,
        }
    )


def _documents(corpus: Iterable[Mapping[str, Any]]) -> Iterator[Document]:
    for row in corpus:
        identity, text, title = str(row["id"]), row["text"], row.get("title") or ""
        if not text.strip():
            text, title = title, ""
        if text.strip():
            yield Document(identity, text, {_KEY: identity} | ({TITLE: title} if title else {}))


def _query_text(query: Mapping[str, Any]) -> str:
    said = query["text"]
    text = said if isinstance(said, str) else "; ".join(str(turn) for turn in said)
    instruction = query.get("instruction")
    return f"{text} {instruction}" if instruction else text


def _cut_to_fit(texts: Sequence[str], encode: Callable[[Sequence[str]], Vectors]) -> Vectors:
    shorter = list(texts)
    while True:
        try:
            return encode(shorter)
        except TextTooLongError as exc:
            for at, length in exc.lengths.items():
                text = shorter[at]
                shorter[at] = text[: min(len(text) - 1, len(text) * exc.limit // length)]
