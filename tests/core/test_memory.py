"""The reference before its own judge, and what only it promises."""

from __future__ import annotations

from qvec.testing import AdapterSuite


class TestMemory(AdapterSuite):
    uri = "memory://"
