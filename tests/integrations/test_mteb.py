"""qvec judged by mteb, on tasks made of a few documents, without a hub."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import pytest

from qvec.database import Database
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import InvalidInputError

# datasets and polars, which mteb brings, use what Python and each other deprecate.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mteb = pytest.importorskip("mteb")
    import datasets
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.models_protocols import EncoderProtocol, SearchProtocol
    from mteb.types import PromptType

    from qvec.integrations.mteb import QvecEncoder, QvecSearch

CORPUS = {
    "csv": "read a csv file into rows",
    "socket": "open a socket and listen on a port",
    "zip": "pack a folder into a zip archive",
    "date": "parse a date in the ISO 8601 format",
    "hash": "compute the sha256 of a file",
}
QUERIES = {"q1": "read csv rows", "q2": "listen on socket port", "q3": "parse ISO date"}
RELEVANT = {"q1": {"csv": 1}, "q2": {"socket": 1}, "q3": {"date": 1}}


def metadata(prompt: object = None, kind: str = "Retrieval") -> TaskMetadata:
    return TaskMetadata(
        name=f"Tiny{kind}",
        description="A few documents.",
        dataset={"path": "tiny", "revision": "1"},
        type=kind,
        category="t2t",
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        prompt=prompt,
    )


class Tiny(AbsTaskRetrieval):
    metadata = metadata()
    ranked: ClassVar[dict[str, list[str]] | None] = None

    def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
        rows = [{"id": key, "title": "", "text": text} for key, text in CORPUS.items()]
        queries = [{"id": key, "text": text} for key, text in QUERIES.items()]
        split = {
            "corpus": datasets.Dataset.from_list(rows),
            "queries": datasets.Dataset.from_list(queries),
            "relevant_docs": RELEVANT,
            "top_ranked": self.ranked,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


class TinyReranking(Tiny):
    metadata = metadata(kind="Reranking")
    ranked: ClassVar = {"q1": ["csv", "hash"], "q2": ["zip", "date"], "q3": ["date"]}


class Recorder(HashingEmbedder):
    """Remember what was asked for."""

    def __init__(self) -> None:
        super().__init__(dim=64, max_tokens=8)
        self.said: list[tuple[str, str | None]] = []

    def encode_document(self, texts):
        self.said += [("document", None)] * len(texts)
        return super().encode_document(texts)

    def encode_query(self, texts, *, instruction=None):
        self.said += [("query", instruction)] * len(texts)
        return super().encode_document(texts)


def score(model: object, task: AbsTaskRetrieval) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return found[0].scores["test"][0]


def test_the_classes_are_what_mteb_takes():
    assert isinstance(QvecEncoder("hashing"), EncoderProtocol)
    assert QvecEncoder("hashing", dim=64).mteb_model_meta.name == "qvec/hashing"


def test_the_encoder_is_judged_on_a_retrieval_task():
    assert score(QvecEncoder("hashing", dim=256), Tiny())["ndcg_at_10"] == pytest.approx(1)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_the_whole_product_is_judged_on_every_database(database: Database, mode):
    search = QvecSearch(database, mode=mode)
    assert isinstance(search, SearchProtocol)
    assert search.mteb_model_meta.name == f"qvec/hashing-{database.adapter.name}-{mode}"
    assert score(search, Tiny())["ndcg_at_10"] == pytest.approx(1)
    assert database.collection("mteb").count() == len(CORPUS)


def test_a_reranking_task_is_searched_among_its_candidates(database: Database):
    found = QvecSearch(database)
    task = TinyReranking()
    result = score(found, task)
    assert result["recall_at_1"] == pytest.approx(2 / 3, abs=1e-4)
    queries = [{"id": key, "text": text} for key, text in QUERIES.items()]
    ranked = found.search(
        queries,
        task_metadata=metadata(),
        hf_split="test",
        hf_subset="default",
        top_k=5,
        encode_kwargs={},
        top_ranked=task.ranked,
    )
    assert {query: set(documents) for query, documents in ranked.items()} == {
        query: set(documents) for query, documents in task.ranked.items()
    }


@pytest.mark.parametrize(
    ("given", "prompt", "expected"),
    [
        (None, None, None),
        (None, "Find it", "Find it"),
        (None, {"query": "Find it", "document": "Keep it"}, "Find it"),
        ("Mine", "Find it", "Mine"),
    ],
)
def test_the_instruction_goes_before_queries_and_never_before_documents(given, prompt, expected):
    recorder = Recorder()
    encoder = QvecEncoder(embedder=recorder, instruction=given)
    for kind in (PromptType.query, PromptType.document, None):
        task = metadata(prompt)
        encoder.encode([{"text": ["x"]}], task_metadata=task, hf_split="", hf_subset="", prompt_type=kind)
    assert recorder.said == [("query", expected), ("document", None), ("query", expected)]


def test_a_text_over_the_window_is_cut_and_the_others_are_not():
    encoder = QvecEncoder(embedder=HashingEmbedder(dim=64, max_tokens=8))
    texts = ["word " * 100, "short"]
    given = {"task_metadata": metadata(), "hf_split": "", "hf_subset": "", "prompt_type": PromptType.document}
    rows = encoder.encode([{"text": texts}], **given)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1)
    assert (rows[1] == encoder.embedder.encode_document(["short"])[0]).all()
    with pytest.raises(InvalidInputError, match="int8"):
        encoder.encode([], precision="int8", **given)


def test_parts_of_a_long_document_count_once():
    from qvec.database import connect

    with connect("memory://") as database:
        search = QvecSearch(database, embedder=HashingEmbedder(dim=64, max_tokens=16))
        long = " ".join(f"alpha beta{i}" for i in range(60))
        given = {"task_metadata": metadata(), "hf_split": "", "hf_subset": "", "encode_kwargs": {}}
        search.index([{"id": "long", "text": long}, {"id": "short", "text": "gamma alpha"}], **given)
        assert database.collection("mteb").count() > 4
        found = search.search([{"id": "q", "text": "alpha beta3"}], top_k=2, **given)
        assert list(found["q"]) == ["long", "short"]


def test_empty_documents_are_left_out_and_a_title_alone_is_found():
    from qvec.database import connect

    with connect("memory://", model="hashing") as database:
        search = QvecSearch(database)
        given = {"task_metadata": metadata(), "hf_split": "", "hf_subset": "", "encode_kwargs": {}}
        search.index([{"id": "empty", "text": " "}, {"id": "titled", "text": "", "title": "delta"}], **given)
        assert list(search.search([{"id": "q", "text": "delta"}], top_k=5, **given)["q"]) == ["titled"]
