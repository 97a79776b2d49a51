"""How the remote embedder sends: batches, several at a time, again after trouble, in bounded time."""

from __future__ import annotations

import itertools
import time
from threading import Event

import numpy as np
import pytest

from qvec.embedders.remote.retrying import Retries
from qvec.embedders.remote.sending import Limits, plan
from qvec.errors import EndpointError
from tests.core.remote.samples import MANY, QUICK


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
    "trouble", [{"overloaded": 3}, {"errors": 3}, {"resets": 3}, {"slow": 1, "slow_seconds": 600}], ids=str
)
def test_trouble_in_the_middle_sends_again_only_what_failed(serve, reach, local, trouble):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(batch_texts=10, in_flight=4), timeout=4.0 if "slow" in trouble else 30.0)
    endpoint.log.answered.clear()
    for name, value in trouble.items():
        setattr(endpoint.faults, name, value)
    rows = remote.encode_document(MANY)
    np.testing.assert_allclose(rows, local.encode_document(MANY), atol=1e-6)
    answered = [text for batch in endpoint.log.answered for text in batch]
    assert sorted(answered) == sorted(MANY)


def test_requests_are_under_way_together_and_never_more_than_asked_for(serve, reach):
    endpoint = serve()
    remote = reach(endpoint, limits=Limits(batch_texts=5, in_flight=3))
    served, are_three = endpoint.embed, Event()

    def together(texts):
        if endpoint.log.under_way >= 3:
            are_three.set()
        assert are_three.wait(60)
        time.sleep(0.05)  # in which a fourth would come
        return served(texts)

    endpoint.embed = together
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
    endpoint.log.times.clear()
    served, retrier = endpoint.embed, remote._sender._retrier

    def held(texts):
        while not retrier._pause_until:
            time.sleep(0.01)
        return served(texts)

    endpoint.embed = held
    remote.encode_document(MANY)
    first, *_ = times = sorted(endpoint.log.times)
    assert retrier._pause_until - first >= 0.4
    # Those that were under way when the server asked for the pause.
    assert sum(at < retrier._pause_until for at in times) <= 4


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
    remote = reach(endpoint, timeout=1.5, retries=Retries(tries=2, first_wait=0.01))
    endpoint.faults.slow, endpoint.faults.slow_seconds = 1000, 600
    with pytest.raises(EndpointError, match=r"did not answer within 1\.5 s, 2 times"):
        remote.encode_document(["a"])
