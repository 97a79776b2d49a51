"""FAISS in a folder, judged by the suite: exact, by HNSW and by IVF."""

from __future__ import annotations

import pytest

from qvec.registry import embedded_uri
from qvec.testing import AdapterSuite


class TestFaiss(AdapterSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        return embedded_uri("faiss", tmp_path_factory.mktemp("faiss")).reveal()
