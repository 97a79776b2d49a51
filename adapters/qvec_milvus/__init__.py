"""Milvus, for qvec: a Lite file by default, a server by URI."""

from qvec_milvus.adapter import MilvusAdapter

__all__ = ["MilvusAdapter"]
