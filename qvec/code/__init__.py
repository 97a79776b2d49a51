"""Source trees as documents: walking them, and cutting files along their structure."""

from qvec.code.chunk import CHUNKER, MAX_CHARS, Chunk, chunk_file
from qvec.code.documents import documents_from_path, documents_of, title_of
from qvec.code.walk import MAX_BYTES, Skipped, SourceFile, walk

__all__ = [
    "CHUNKER",
    "MAX_BYTES",
    "MAX_CHARS",
    "Chunk",
    "Skipped",
    "SourceFile",
    "chunk_file",
    "documents_from_path",
    "documents_of",
    "title_of",
    "walk",
]
