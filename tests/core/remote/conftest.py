"""A served model and the remote embedder that asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from qvec.embedders.bundled import BundledEmbedder
from qvec.embedders.remote import RemoteEmbedder
from tests.core.endpoint import Endpoint, Faults
from tests.core.remote.samples import QUICK

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
