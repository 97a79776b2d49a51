"""PostgreSQL with pgvector, judged by the suite: the embedded server always, another one by URI."""

from __future__ import annotations

import pytest

from qvec.registry import embedded_uri
from qvec.testing import AdapterSuite
from tests.adapters.servers import postgresql_uri


class TestEmbedded(AdapterSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        return embedded_uri("pgvector", tmp_path_factory.mktemp("pg")).reveal()


@pytest.mark.server
class TestServer(AdapterSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        return postgresql_uri(tmp_path_factory.mktemp("server"))
