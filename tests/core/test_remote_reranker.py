"""What the remote reranker promises, against a real server that answers well or badly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from qvec.embedders.bundled import FOLDER as BUNDLED
from qvec.embedders.remote.retrying import Retries
from qvec.errors import ConfigError, EmbeddingError, EndpointError, InvalidInputError, TextTooLongError
from qvec.registry import load_reranker
from qvec.reranker import OUT_OF_TIME, Reranker
from qvec.rerankers.remote import RemoteReranker
from tests.core.rerank_endpoint import MODEL, RerankEndpoint, overlap

QUERY = "read a CSV file"
TEXTS = ["nothing", "read the file", "read a CSV file", "", "读取CSV文件"]
MANY = [f"{'read ' * (number % 2)}{'csv ' * (number % 3)}text {number}" for number in range(75)]
QUICK = Retries(tries=4, first_wait=0.01, longest_wait=0.05)

Reach = Callable[..., tuple[RemoteReranker, RerankEndpoint]]


@pytest.fixture
def reach() -> Iterator[Reach]:
    with ExitStack() as stack:

        def start(options: str = "", arguments: dict[str, object] | None = None, **faults: object):
            endpoint = stack.enter_context(RerankEndpoint(**faults))
            chosen = {"retries": QUICK, "env": {}, **(arguments or {})}
            return stack.enter_context(RemoteReranker(endpoint.name + options, **chosen)), endpoint

        yield start


@pytest.mark.parametrize("form", ["results", "data", "tei"])
@pytest.mark.parametrize(
    "faults", [{}, {"errors": 3}, {"overloaded": 2}, {"batch_limit": 7}, {"batch_limit": 1, "batch_limit_status": 422}]
)
def test_scores_come_back_in_the_order_of_the_texts_whatever_the_server_s_form_and_troubles(reach, form, faults):
    reranker, endpoint = reach(form=form)
    for name, value in faults.items():
        setattr(endpoint.faults, name, value)
    for texts in (TEXTS, MANY):
        found = reranker.score(QUERY, texts)
        assert [each.score for each in found] == pytest.approx([overlap(QUERY, text) for text in texts])
        assert {each.note for each in found} == {""}
    assert reranker.score(QUERY, []) == []


def test_a_server_that_cannot_be_told_to_keep_the_documents_is_asked_without(reach):
    reranker, endpoint = reach(knows_return_documents=False)
    assert [each.score for each in reranker.score(QUERY, TEXTS)] == [overlap(QUERY, text) for text in TEXTS]
    assert "return_documents" not in endpoint.log.bodies[-1]


def test_the_batch_size_that_a_server_takes_is_remembered(reach):
    reranker, endpoint = reach(batch_limit=10)
    reranker.score(QUERY, MANY)
    endpoint.log.bodies.clear()
    reranker.score(QUERY, MANY)
    assert max(len(body["documents"]) for body in endpoint.log.bodies) <= 10


def test_it_is_a_reranker_and_its_name_loads_it_again(reach):
    reranker, endpoint = reach()
    assert isinstance(reranker, Reranker)
    assert reranker.model_id == f"rerank:{MODEL}@{endpoint.url}"
    again = load_reranker(reranker.model_id)
    assert again.score(QUERY, TEXTS) == reranker.score(QUERY, TEXTS)


def test_a_document_that_the_server_refuses_has_no_score_and_its_words_as_note(reach):
    reranker, _ = reach(refuses_text="forbidden")
    found = reranker.score(QUERY, [*TEXTS, "a forbidden text"])
    assert [each.score for each in found[:-1]] == pytest.approx([overlap(QUERY, text) for text in TEXTS])
    assert (found[-1].score, "this document cannot be taken" in found[-1].note) == (None, True)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"drops_one": True}, "4 scores for 5 texts"),
        ({"same_index": True}, "numbered a score 0 among 5"),
        ({"score": float("nan")}, "the score nan"),
        ({"score": "high"}, "the score 'high'"),
        ({"answer": b"<html>"}, "no JSON"),
        ({"answer": b'{"ok": true}'}, "without a list of scores"),
        ({"errors": 9}, "HTTP 500 4 times in a row"),
        ({"key": "secret"}, "QVEC_RERANK_API_KEY"),
    ],
)
def test_a_wrong_answer_is_an_error_that_says_what_was_wrong(reach, faults, message):
    reranker, endpoint = reach()
    for name, value in faults.items():
        setattr(endpoint.faults, name, value)
    with pytest.raises(EndpointError, match=message):
        reranker.score(QUERY, TEXTS)


def test_a_wrong_model_or_no_server_is_an_error_when_it_is_opened(reach):
    _, endpoint = reach()
    with pytest.raises(EndpointError, match="does not exist"):
        RemoteReranker(f"other@{endpoint.url}", retries=QUICK, env={})
    with pytest.raises(EndpointError, match="start the server"):
        RemoteReranker("other@http://127.0.0.1:9/v1", retries=QUICK, env={})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "no model named"),
        ("model", "no server named"),
        ("model@http://x?nonsense=1", "known: key_env, max_tokens, template, tokenizer"),
        ("model@http://x?template=bert", "takes qwen3"),
        ("model@http://me:pw@x", "holds no password"),
    ],
)
def test_a_name_that_cannot_be_read_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        RemoteReranker(name, env={})


def test_an_unknown_window_is_asked_for_and_a_stated_one_taken(reach):
    with pytest.raises(ConfigError, match=r"add \?max_tokens=N"):
        reach(window=None)
    assert reach("?max_tokens=700", window=None)[0].max_tokens == 700
    assert reach(form="tei", window=512)[0].max_tokens == 512


def test_the_key_is_shown_and_only_the_reranker_s(reach):
    keys = {"QVEC_RERANK_API_KEY": "right", "QVEC_EMBED_API_KEY": "other", "MINE": "mine"}
    assert reach(arguments={"env": keys}, key="right")[1].log.keys == {"Bearer right"}
    assert reach("?key_env=MINE", {"env": keys}, key="mine")[1].log.keys == {"Bearer mine"}


def test_with_the_tokenizer_a_long_document_is_cut_here_and_its_note_says_so(reach):
    reranker, endpoint = reach(f"?tokenizer={BUNDLED}&max_tokens=40")
    long = "文件 file " * 50
    (found,) = reranker.score(QUERY, [long])
    sent = endpoint.log.bodies[-1]["documents"][0]
    assert long.startswith(sent)
    assert reranker.count_tokens(QUERY, [sent]) == reranker.count_tokens(QUERY, [long]) == [40]
    assert found.note.startswith("cut to 40 of ")
    with pytest.raises(TextTooLongError, match="40 tokens"):
        reranker.score("word " * 50, TEXTS)


def test_without_the_tokenizer_nothing_is_cut_here_and_the_note_says_what_may_be(reach):
    reranker, endpoint = reach("?max_tokens=40")
    short, long = reranker.score(QUERY, ["a", "a" * 80])
    assert endpoint.log.bodies[-1]["documents"] == ["a", "a" * 80]
    assert (short.note, long.note) == ("", "perhaps cut by the server at 40 tokens: name its tokenizer to know")


def test_the_template_goes_around_the_texts_where_the_name_asks_for_it(reach):
    reranker, endpoint = reach("?template=qwen3")
    reranker.score(QUERY, ["a text"], instruction="code_search")
    body = endpoint.log.bodies[-1]
    assert body["query"].startswith("<|im_start|>system\nJudge whether")
    assert body["query"].endswith(f"retrieve the code that does it\n<Query>: {QUERY}\n")
    assert body["documents"] == [
        "<Document>: a text<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ]
    with pytest.raises(InvalidInputError, match="template=qwen3"):
        reach()[0].score(QUERY, TEXTS, instruction="code_search")


@pytest.mark.parametrize("trouble", [{"slow_seconds": 600.0}, {"errors": 99}], ids=str)
def test_when_time_is_up_what_is_left_has_no_score_and_nobody_waits_longer(reach, trouble):
    """Both the server and the pause after its error take minutes."""
    patient = {"retries": Retries(tries=50, first_wait=600, longest_wait=600), "batch_texts": 2}
    reranker, endpoint = reach(arguments=patient)
    for name, value in trouble.items():
        setattr(endpoint.faults, name, value)
    started = time.monotonic()
    found = reranker.score(QUERY, TEXTS, seconds=0.3)
    assert time.monotonic() - started < 60
    assert [(each.score, each.note) for each in found] == [(None, OUT_OF_TIME)] * len(TEXTS)
    (endpoint.faults.slow_seconds, endpoint.faults.errors) = (0.0, 0)
    assert None not in [each.score for each in reranker.score(QUERY, TEXTS, seconds=60)]


def test_a_text_that_no_json_can_hold_is_named(reach):
    with pytest.raises(EmbeddingError, match="text 1 holds"):
        reach()[0].score(QUERY, ["a", "\ud800"])
