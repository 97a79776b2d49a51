"""Elasticsearch, judged by the suite."""

from __future__ import annotations

import pytest

from qvec.testing import AdapterSuite
from tests.adapters.elasticsearch_node import elasticsearch_uri

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""


@pytest.mark.server
class TestNode(AdapterSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls) -> str:
        return elasticsearch_uri()
