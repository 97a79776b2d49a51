"""Milvus, for qvec."""
