"""A Milvus server, judged by the suite: 2.3.5, or the one that QVEC_TEST_MILVUS_URI names."""

from __future__ import annotations

import pytest

from qvec.testing import AdapterSuite
from tests.adapters.milvus_server import milvus_uri


@pytest.mark.slow
@pytest.mark.server
class TestServer(AdapterSuite):
    """Each collection takes a server a second or more to make, to load and to drop."""

    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls) -> str:
        return milvus_uri()
