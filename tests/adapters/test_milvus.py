"""Milvus Lite, judged by the suite."""

from __future__ import annotations

import pytest

from qvec.registry import embedded_uri
from qvec.testing import AdapterSuite


class TestLite(AdapterSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        return embedded_uri("milvus", tmp_path_factory.mktemp("milvus")).reveal()
