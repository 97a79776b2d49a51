"""qvec inside LlamaIndex: embeddings, and a vector store over any database."""

from __future__ import annotations

from qvec.integrations.llamaindex.embedding import QvecEmbedding
from qvec.integrations.llamaindex.filters import from_llamaindex
from qvec.integrations.llamaindex.vectorstore import QvecVectorStore

__all__ = ["QvecEmbedding", "QvecVectorStore", "from_llamaindex"]
