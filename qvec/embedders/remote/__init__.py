"""Models behind an OpenAI-compatible ``/v1/embeddings``: SGLang, vLLM, TEI, llama.cpp, OpenAI itself."""

from qvec.embedders.remote.embedder import RemoteEmbedder

__all__ = ["RemoteEmbedder"]
