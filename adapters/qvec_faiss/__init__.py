"""FAISS in a folder, for qvec."""
