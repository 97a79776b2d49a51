"""Vector search for the databases people already have.

``qvec.index("books", docs)`` and ``qvec.search("books", "a query")`` do it in one line each; ``qvec.connect(uri)``
keeps the connection open. Names are loaded when they are first used: ``import qvec`` loads no driver and no model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qvec.api import index, search
    from qvec.collection import Collection
    from qvec.database import Database, connect
    from qvec.embedding import embed
    from qvec.errors import QvecError
    from qvec.filters import Field
    from qvec.pipeline import IndexReport
    from qvec.types import Document, Hit, IndexSpec, Metric

__version__ = "0.1.0"

_HOMES = {
    "index": "qvec.api",
    "search": "qvec.api",
    "connect": "qvec.database",
    "embed": "qvec.embedding",
    "Database": "qvec.database",
    "Collection": "qvec.collection",
    "Document": "qvec.types",
    "Hit": "qvec.types",
    "IndexSpec": "qvec.types",
    "Metric": "qvec.types",
    "IndexReport": "qvec.pipeline",
    "Field": "qvec.filters",
    "QvecError": "qvec.errors",
}

__all__ = [
    "Collection",
    "Database",
    "Document",
    "Field",
    "Hit",
    "IndexReport",
    "IndexSpec",
    "Metric",
    "QvecError",
    "connect",
    "embed",
    "index",
    "search",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'qvec' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
