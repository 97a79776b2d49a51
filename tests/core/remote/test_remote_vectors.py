"""What the remote embedder gives: the served model's own vectors, by the right template, name and key."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from qvec.embedder import Embedder
from qvec.embedders.instructions import QWEN3_QUERY, TASK, Prompts
from qvec.errors import EndpointError
from qvec.registry import load_embedder
from tests.core.endpoint import MODEL
from tests.core.remote.samples import TEXTS


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


@pytest.mark.parametrize("refusal", ["refuses_dimensions", "ignores_dimensions", "scale"])
def test_a_dim_is_asked_for_or_else_cut_here_and_brought_to_unit_length(serve, reach, local, refusal):
    endpoint = serve(**{refusal: True})
    remote = reach(endpoint, dim=64)
    rows = remote.encode_document(TEXTS)
    cut = local.encode_document(TEXTS)[:, :64]
    np.testing.assert_allclose(rows, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)
    assert ("dimensions" in endpoint.log.bodies[-1]) == (refusal != "refuses_dimensions")


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
