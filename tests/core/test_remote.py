"""What the remote embedder promises, against a real server that serves the bundled model, well or badly."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from qvec.embedder import Embedder
from qvec.embedders.bundled import BundledEmbedder
from qvec.embedders.instructions import QWEN3_QUERY, TASK, Prompts
from qvec.embedders.remote import RemoteEmbedder
from qvec.embedders.remote.retrying import Retries
from qvec.embedders.remote.sending import Limits, plan
from qvec.errors import ConfigError, EmbeddingError, EndpointError, TextTooLongError
from qvec.registry import load_embedder
from tests.core.endpoint import MODEL, Endpoint, Faults

TEXTS = ["read a CSV file", "读取CSV文件", "def f(x):\n    return x\n", "", "a", "b " * 300]
MANY = [f"text number {number} " * (number % 7 + 1) for number in range(100)]
QUICK = Retries(tries=4, first_wait=0.01, longest_wait=0.05)

Serve = Callable[..., Endpoint]
Reach = Callable[..., RemoteEmbedder]


@pytest.fixture(scope="module")
def local() -> BundledEmbedder:
    return BundledEmbedder(threads=1)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(stack: ExitStack, local: BundledEmbedder) -> Serve:
    def start(**faults: object) -> Endpoint:
        return stack.enter_context(Endpoint(Faults(**faults), local.encode_document))

    return start


@pytest.fixture
def reach(stack: ExitStack) -> Reach:
    def connect(endpoint: Endpoint, options: str = "", **arguments: object) -> RemoteEmbedder:
        chosen = {"retries": QUICK, "env": {}, **arguments}
        return stack.enter_context(RemoteEmbedder(endpoint.name + options, **chosen))

    return connect


def test_it_is_an_embedder_and_says_what_it_is(serve, reach):
    endpoint = serve()
    remote = reach(endpoint)
    assert isinstance(remote, Embedder)
    assert (remote.model_id, remote.dim, remote.max_tokens) == (f"openai:{MODEL}@{endpoint.url}", 256, 4096)


def test_vectors_are_those_of_the_model_that_is_served(serve, reach, local):
    rows = reach(serve()).encode_document(TEXTS)
    assert (rows.dtype, rows.shape, rows.flags.c_contiguous) == (np.float32, (len(TEXTS), 256), True)
    np.testing.assert_allclose(rows, local.encode_document(TEXTS), atol=1e-6)


def test_no_texts_give_no_rows_and_no_request(serve, reach):
    endpoint = serve()
    remote = reach(endpoint)
    before = len(endpoint.log.inputs)
    assert remote.encode_document([]).shape == (0, 256)
    assert len(endpoint.log.inputs) == before


@pytest.mark.parametrize(
    "faults",
    [
        {"scale": 7.0},
        {"refuses_base64": True},
        {"reversed_data": True},
        {"batch_limit": 3},
        {"batch_limit": 5, "batch_limit_status": 422},
        {"batch_limit": 1, "batch_limit_status": 400},
        {"overloaded": 3},
        {"overloaded": 2, "retry_after": "0.05"},
        {"errors": 3},
        {"resets": 3},
    ],
    ids=str,
)
def test_a_bad_server_costs_time_and_never_the_right_answer(serve, reach, local, faults):
    remote = reach(serve(**faults), limits=Limits(batch_texts=16, in_flight=4))
    np.testing.assert_allclose(remote.encode_document(MANY), local.encode_document(MANY), atol=1e-6)


@pytest.mark.parametrize(
    "trouble", [{"overloaded": 3}, {"errors": 3}, {"resets": 3}, {"slow": 1, "slow_seconds": 1.5}], ids=str
)
def test_trouble_in_the_middle_sends_again_only_what_failed(serve, reach, local, trouble):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(batch_texts=10, in_flight=4), timeout=1.0 if "slow" in trouble else 30.0)
    endpoint.log.answered.clear()
    for name, value in trouble.items():
        setattr(endpoint.faults, name, value)
    rows = remote.encode_document(MANY)
    np.testing.assert_allclose(rows, local.encode_document(MANY), atol=1e-6)
    answered = [text for batch in endpoint.log.answered for text in batch]
    # A server that answers too late has answered; all others are asked for each text once.
    assert len(answered) - len(MANY) in ({0, 10} if "slow" in trouble else {0})


def test_requests_are_under_way_together_and_never_more_than_asked_for(serve, reach):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(batch_texts=5, in_flight=3))
    endpoint.faults.slow, endpoint.faults.slow_seconds = 1000, 0.05
    remote.encode_document(MANY)
    assert endpoint.log.most_under_way == 3


def test_connections_are_kept_open(serve, reach):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(batch_texts=5, in_flight=2))
    remote.encode_document(MANY)
    assert len(endpoint.log.inputs) > 20
    assert endpoint.log.connections <= 3


def test_batches_keep_to_the_budget_of_texts_and_bytes(serve, reach):
    endpoint = serve()
    reach(endpoint, limits=Limits(batch_texts=8, batch_bytes=600)).encode_document([*MANY, "x" * 900])
    for batch in endpoint.log.inputs:
        assert len(batch) <= 8
        assert len(batch) == 1 or sum(len(text.encode()) for text in batch) <= 600


def test_a_plan_holds_every_text_once_longest_first():
    texts = ["a" * size for size in (3, 50, 7, 7, 1, 120, 2)]
    batches = plan(texts, 3, 60)
    assert sorted(itertools.chain(*batches)) == list(range(7))
    assert batches[0] == [5]
    sizes = [len(texts[at]) for batch in batches for at in batch]
    assert sizes == sorted(sizes, reverse=True)


def test_the_batch_limit_is_learnt_once(serve, reach):
    endpoint = serve(batch_limit=10)
    remote = reach(endpoint, limits=Limits(batch_texts=64, in_flight=1))
    remote.encode_document(MANY)
    assert remote.batch_texts <= 10
    before = len(endpoint.log.inputs)
    remote.encode_document(MANY)
    assert len(endpoint.log.inputs) - before == -(-len(MANY) // remote.batch_texts)


def test_retry_after_is_honoured(serve, reach):
    endpoint = serve()
    remote = reach(endpoint)
    endpoint.faults.overloaded, endpoint.faults.retry_after = 1, "0.4"
    started = time.monotonic()
    remote.encode_document(["a"])
    assert time.monotonic() - started >= 0.4


def test_a_pause_holds_for_all_requests(serve, reach):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(batch_texts=5, in_flight=4))
    endpoint.faults.overloaded, endpoint.faults.retry_after = 1, "0.4"
    endpoint.faults.slow, endpoint.faults.slow_seconds = 1000, 0.02
    endpoint.log.times.clear()
    remote.encode_document(MANY)
    times = sorted(endpoint.log.times)
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 0.3


def test_a_wait_beyond_patience_is_an_error_at_once(serve, reach):
    endpoint = serve()
    remote = reach(endpoint)
    endpoint.faults.overloaded, endpoint.faults.retry_after = 1, "3600"
    with pytest.raises(EndpointError, match="come back in 3600 s"):
        remote.encode_document(["a"])


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        ({"overloaded": 1000}, "in_flight=1"),
        ({"errors": 1000}, "the backend fell over.*server's log"),
        ({"resets": 1000}, "is the server up"),
    ],
    ids=["overloaded", "errors", "resets"],
)
def test_tries_are_bounded_and_the_error_says_what_to_do(serve, reach, trouble, advice):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(in_flight=1))
    before = len(endpoint.log.inputs)
    for name, value in trouble.items():
        setattr(endpoint.faults, name, value)
    with pytest.raises(EndpointError, match=advice) as caught:
        remote.encode_document(["a"])
    assert (caught.value.done, caught.value.total) == (0, 1)
    # A connection that was kept open and went stale is tried once more at no cost.
    assert len(endpoint.log.inputs) - before in {QUICK.tries, QUICK.tries + 1}


def test_the_error_says_how_many_texts_were_done(serve, reach):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(batch_texts=10, in_flight=1))
    served = endpoint.embed

    def breaks_after_three(texts):
        if len(endpoint.log.answered) >= 4:
            endpoint.faults.errors = 1000
        return served(texts)

    endpoint.embed = breaks_after_three
    with pytest.raises(EndpointError, match=r"40 of 100 texts were embedded") as caught:
        remote.encode_document(MANY)
    assert (caught.value.status, caught.value.done, caught.value.total) == (500, 40, 100)


def test_a_server_that_is_too_slow_is_an_error_that_says_so(serve, reach):
    endpoint = serve()
    remote = reach(endpoint, timeout=0.2, retries=Retries(tries=2, first_wait=0.01))
    endpoint.faults.slow, endpoint.faults.slow_seconds = 1000, 0.5
    with pytest.raises(EndpointError, match=r"did not answer within 0\.2 s, 2 times"):
        remote.encode_document(["a"])


@pytest.mark.parametrize("refusal", ["refuses_dimensions", "ignores_dimensions", "scale"])
def test_a_dim_is_asked_for_or_else_cut_here_and_brought_to_unit_length(serve, reach, local, refusal):
    endpoint = serve(**{refusal: True})
    remote = reach(endpoint, dim=64)
    rows = remote.encode_document(TEXTS)
    cut = local.encode_document(TEXTS)[:, :64]
    np.testing.assert_allclose(rows, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)
    assert ("dimensions" in endpoint.log.bodies[-1]) == (refusal != "refuses_dimensions")


def test_a_dim_wider_than_the_model_is_refused(serve, reach):
    with pytest.raises(ConfigError, match="256 components"):
        reach(serve(), dim=512)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"answer": b"<html>Sign in</html>"}, "no JSON.*Sign in"),
        ({"answer": b'{"embeddings": [[1, 2]]}'}, "without a list 'data'"),
        ({"answer": b'{"data": [{"embedding": "%%%"}]}'}, "cannot be read"),
        ({"answer": b'{"data": [{"embedding": [[1, 2]]}]}'}, "2 dimensions"),
        ({"answer": b'{"data": []}'}, "0 vectors for"),
        ({"answer": b'{"data": [{"index": 0, "embedding": []}]}'}, "0"),
    ],
    ids=["html", "foreign", "base64", "nested", "none", "empty"],
)
def test_an_answer_that_is_none_is_an_endpoint_error(serve, reach, fault, why):
    endpoint = serve()
    remote = reach(endpoint)
    endpoint.faults.answer = fault["answer"]
    with pytest.raises(EndpointError, match=why):
        remote.encode_document(["a"])


@pytest.mark.parametrize(("fault", "why"), [("drops_one", "2 vectors for 3"), ("same_index", "numbered a vector 0")])
def test_vectors_that_cannot_be_told_apart_are_refused(serve, reach, fault, why):
    endpoint = serve()
    remote = reach(endpoint)
    setattr(endpoint.faults, fault, True)
    with pytest.raises(EndpointError, match=why):
        remote.encode_document(["a", "b", "c"])


def test_another_width_than_at_first_is_refused(serve, reach):
    endpoint = serve()
    remote = reach(endpoint)
    served = endpoint.embed
    endpoint.embed = lambda texts: served(texts)[:, :100]
    with pytest.raises(EndpointError, match="100 components"):
        remote.encode_document(["a"])


@pytest.mark.parametrize("refuses_base64", [True, False])
def test_nan_is_refused_by_position(serve, reach, refuses_base64):
    endpoint = serve(refuses_base64=refuses_base64)
    remote = reach(endpoint)
    endpoint.faults.nan_for = "poison"
    with pytest.raises(EmbeddingError, match="position 1"):
        remote.encode_document(["fine", "poison", "fine"])


def test_a_text_that_the_server_refuses_is_named(serve, reach):
    remote = reach(serve(refuses_text="poison"))
    with pytest.raises(EmbeddingError, match=r"text 40 of 6 bytes.*cannot be taken") as caught:
        remote.encode_document([*MANY[:40], "poison", *MANY[40:]])
    assert not isinstance(caught.value, EndpointError)
    assert remote.batch_texts == 64


def test_a_text_over_the_window_never_leaves(serve, reach):
    endpoint = serve(window=20)
    remote = reach(endpoint)
    before = len(endpoint.log.inputs)
    with pytest.raises(TextTooLongError) as caught:
        remote.encode_document(["short", "x" * 30])
    assert (caught.value.lengths, caught.value.limit) == ({1: 32}, 20)
    assert len(endpoint.log.inputs) == before


def test_an_unknown_window_is_asked_for(serve, reach):
    endpoint = serve(window=None)
    with pytest.raises(ConfigError, match="max_tokens=N"):
        reach(endpoint)
    assert reach(endpoint, "?max_tokens=100").max_tokens == 100


def test_tokens_are_counted_exactly_with_a_tokenizer(serve, reach, local):
    from qvec.embedders.bundled import FOLDER

    remote = reach(serve(), f"?tokenizer={FOLDER}")
    assert remote.count_tokens(TEXTS) == local.count_tokens(TEXTS)


def test_newlines_and_indentation_reach_the_server(serve, reach):
    endpoint = serve()
    reach(endpoint).encode_document(["a\n    b\n"])
    assert endpoint.log.inputs[-1] == ["a\n    b\n"]


def test_the_template_is_put_before_queries_here(serve, reach):
    endpoint = serve()
    remote = reach(endpoint, prompts=Prompts(QWEN3_QUERY, "passage: ", task="Find it"))
    remote.encode_query(["a\nb"])
    remote.encode_query(["a"], instruction="Given a bug, retrieve the code")
    remote.encode_document(["c"])
    expected = [
        [QWEN3_QUERY.replace(TASK, "Find it") + "a\nb"],
        [QWEN3_QUERY.replace(TASK, "Given a bug, retrieve the code") + "a"],
        ["passage: c"],
    ]
    assert endpoint.log.inputs[-3:] == expected


def test_prefixes_in_the_name_are_used_and_noted_in_the_digest(serve, reach):
    endpoint = serve()
    plain, own = reach(endpoint), reach(endpoint, "?query=q%3A%20&document=d%3A%20")
    own.encode_query(["x"])
    assert endpoint.log.inputs[-1] == ["q: x"]
    assert own.prompt_digest != plain.prompt_digest


def test_the_name_loads_the_same_model_again(serve, reach, stack):
    first = reach(serve(), "?query=q%3A%20&max_tokens=99")
    again = stack.enter_context(load_embedder(first.model_id))
    assert (again.model_id, again.revision, again.prompt_digest) == (
        first.model_id,
        first.revision,
        first.prompt_digest,
    )


def test_two_servers_are_two_models_unless_a_revision_says_otherwise(serve, reach):
    one, other = serve(), serve()
    assert reach(one).revision != reach(other).revision
    assert reach(one, "?revision=abc").revision == reach(other, "?revision=abc").revision


def test_the_key_is_shown_to_the_server_and_to_nobody_else(serve, reach, caplog):
    caplog.set_level(logging.DEBUG)
    endpoint = serve(key="sesame-open")
    remote = reach(endpoint, env={"QVEC_EMBED_API_KEY": "sesame-open"})
    remote.encode_document(["a"])
    with pytest.raises(EndpointError, match="QVEC_EMBED_API_KEY") as caught:
        reach(endpoint, env={"QVEC_EMBED_API_KEY": "sesame-shut"})
    for shown in (repr(remote), remote.model_id, str(caught.value), repr(vars(remote)), caplog.text):
        assert "sesame" not in shown


def test_the_key_of_openai_is_for_openai_alone(serve, reach):
    endpoint = serve()
    reach(endpoint, env={"OPENAI_API_KEY": "sesame"})
    assert endpoint.log.keys == {""}
    reach(endpoint, env={"OPENAI_API_KEY": "sesame", "OPENAI_BASE_URL": endpoint.url})
    assert "Bearer sesame" in endpoint.log.keys
    reach(endpoint, "?key_env=MINE", env={"MINE": "open"})
    assert "Bearer open" in endpoint.log.keys


def test_a_model_that_the_server_does_not_have_is_an_error(serve):
    with pytest.raises(EndpointError, match=r"does not exist.*model's name"):
        RemoteEmbedder(f"other@{serve().url}", env={})


def test_nobody_there_is_told_at_once():
    started = time.monotonic()
    with pytest.raises(EndpointError, match="start the server"):
        RemoteEmbedder("m@http://127.0.0.1:9/v1", env={})
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "no model"),
        ("@http://h/v1", "no model"),
        ("m@http://me:secret@h/v1", "no password"),
        ("m@http://h:99999999/v1", "cannot be read"),
        ("m@http://h/v1?tokeniser=x", "known: document"),
        ("m@http://h/v1?max_tokens=0", "whole number"),
        ("m@http://h/v1?key_env=NOWHERE", "NOWHERE"),
        ("m@http://h/v1?tokenizer=/nowhere", "no such tokenizer"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_before_anything_is_sent(name, why):
    with pytest.raises(ConfigError, match=why) as caught:
        RemoteEmbedder(name, env={})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("bad", [[None], ["a\0b"], ["\udc80"], "bare"])
def test_what_is_no_text_is_refused(serve, reach, bad):
    with pytest.raises(EmbeddingError):
        reach(serve()).encode_document(bad)
