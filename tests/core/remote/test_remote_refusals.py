"""What the remote embedder refuses: bad answers, bad names and bad texts, each with an error that says what to do."""

from __future__ import annotations

import time

import pytest

from qvec.embedders.remote import RemoteEmbedder
from qvec.embedders.remote.retrying import Retries
from qvec.errors import ConfigError, EmbeddingError, EndpointError, TextTooLongError
from tests.core.remote.samples import MANY


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


@pytest.mark.parametrize("counts", ["vllm", "tei"])
def test_a_server_that_counts_is_asked_about_texts_that_may_be_too_long(serve, reach, counts):
    endpoint = serve(window=20, counts=counts)
    remote = reach(endpoint)
    wordy, long = "many letters in few words", "a " * 19
    assert remote.encode_document(["short", wordy]).shape == (2, remote.dim)
    assert endpoint.log.counted == [wordy]
    with pytest.raises(TextTooLongError) as caught:
        remote.encode_document([wordy, long])
    assert caught.value.lengths == {1: 21}
    assert remote.count_tokens(["short", long, ""]) == [3, 21, 2]


def test_an_unknown_window_is_asked_for(serve, reach):
    endpoint = serve(window=None)
    with pytest.raises(ConfigError, match="max_tokens=N"):
        reach(endpoint)
    assert reach(endpoint, "?max_tokens=100").max_tokens == 100


def test_a_model_that_the_server_does_not_have_is_an_error(serve):
    with pytest.raises(EndpointError, match=r"does not exist.*model's name"):
        RemoteEmbedder(f"other@{serve().url}", env={})


def test_nobody_there_is_told_at_once():
    patient = Retries(first_wait=600, longest_wait=600)
    started = time.monotonic()
    with pytest.raises(EndpointError, match="start the server"):
        RemoteEmbedder("m@http://127.0.0.1:9/v1", env={}, retries=patient)
    assert time.monotonic() - started < 60


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
