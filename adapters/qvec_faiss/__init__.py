"""FAISS in a folder, for qvec: SQLite holds the truth, the FAISS file is a snapshot that can be built again."""

from qvec_faiss.adapter import FaissAdapter

__all__ = ["FaissAdapter"]
