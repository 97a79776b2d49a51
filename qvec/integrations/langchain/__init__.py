"""qvec inside LangChain: embeddings, a vector store over any database, a retriever."""

from __future__ import annotations

from qvec.integrations.langchain.embeddings import QvecEmbeddings
from qvec.integrations.langchain.filters import from_langchain
from qvec.integrations.langchain.retriever import QvecRetriever
from qvec.integrations.langchain.vectorstore import QvecVectorStore

__all__ = ["QvecEmbeddings", "QvecRetriever", "QvecVectorStore", "from_langchain"]
