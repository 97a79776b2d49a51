"""qvec inside Haystack: a document store over any database, a retriever, embedders."""

from __future__ import annotations

from qvec.errors import MissingDriverError

try:
    import haystack  # noqa: F401
except ImportError as exc:
    raise MissingDriverError("haystack-ai", "haystack") from exc

from qvec.integrations.haystack.document_store import QvecDocumentStore
from qvec.integrations.haystack.embedders import QvecDocumentEmbedder, QvecTextEmbedder
from qvec.integrations.haystack.errors import QvecDuplicateError, QvecFilterError
from qvec.integrations.haystack.filters import from_haystack
from qvec.integrations.haystack.retriever import QvecRetriever

__all__ = [
    "QvecDocumentEmbedder",
    "QvecDocumentStore",
    "QvecDuplicateError",
    "QvecFilterError",
    "QvecRetriever",
    "QvecTextEmbedder",
    "from_haystack",
]
