"""Vectors that were made before, kept: a cache around any embedder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from qvec.embedder import Embedder
from qvec.embedders.cache_file import FileCache
from qvec.embedders.cache_redis import RedisCache
from qvec.embedders.cache_store import VectorCache
from qvec.embedders.inputs import check_texts
from qvec.embedders.instructions import Prompts
from qvec.types import Vectors

KEY_BYTES = 20
# What is embedded at once, and so what is lost at most when an endpoint fails in the middle of a call.
_PIECE = 1024
_SEAL_BYTES = 8
_REDIS = ("redis://", "rediss://", "unix://")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """How many texts were found in the cache, and how many were not."""

    hits: int = 0
    misses: int = 0


@runtime_checkable
class _Prompted(Protocol):
    @property
    def prompts(self) -> Prompts: ...


class CachedEmbedder(Embedder):
    """Take vectors from a cache, and only what it does not hold from the embedder; safe to share between threads.

    Vectors are kept by model, revision, dim, pooling and prompts, by role and by the text's hash. Queries are kept only
    of embedders that tell their `prompts`, because only these tell which instruction stands for None.
    """

    def __init__(self, embedder: Embedder, cache: VectorCache) -> None:
        self.embedder = embedder
        self.cache = cache
        self.model_id = embedder.model_id
        self.revision = embedder.revision
        self.dim = embedder.dim
        self.max_tokens = embedder.max_tokens
        self.pooling = embedder.pooling
        self.prompt_digest = embedder.prompt_digest
        self._lock = threading.Lock()
        self._counts = CacheCounts()
        self._warned = False
        maker = [self.model_id, self.revision, self.dim, self.pooling, self.prompt_digest]
        self._maker = json.dumps(maker, ensure_ascii=False).encode()

    def __repr__(self) -> str:
        return f"CachedEmbedder({self.embedder!r}, {self.cache!r})"

    @property
    def counts(self) -> CacheCounts:
        """Hits and misses so far, in texts."""
        return self._counts

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens as the embedder does."""
        return self.embedder.count_tokens(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents, those that the cache does not hold.

        Returns:
            float32 ``(len(texts), dim)``, rows of unit length, in the order of `texts`.

        Raises:
            EmbeddingError: as the embedder says; what was embedded before is kept.
        """
        return self._encode(check_texts(texts), "document", self.embedder.encode_document)

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Embed queries, those that the cache does not hold under this instruction.

        Raises:
            InvalidInputError: as the embedder says.
            EmbeddingError: as the embedder says.
        """
        if not isinstance(self.embedder, _Prompted):
            return self.embedder.encode_query(texts, instruction=instruction)
        role = f"query\0{self.embedder.prompts.query_prefix(instruction)}"
        return self._encode(
            check_texts(texts), role, lambda missing: self.embedder.encode_query(missing, instruction=instruction)
        )

    def _encode(self, texts: list[str], role: str, encode: Callable[[Sequence[str]], Vectors]) -> Vectors:
        keys = [self._key(role, text) for text in texts]
        found = self._read(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        with self._lock:
            hits = sum(key in found for key in keys)
            self._counts = CacheCounts(self._counts.hits + hits, self._counts.misses + len(texts) - hits)
        wanted = list(missing)
        for start in range(0, len(wanted), _PIECE):
            piece = wanted[start : start + _PIECE]
            rows = encode([missing[key] for key in piece])
            found.update(zip(piece, rows, strict=True))
            self.cache.write({key: seal(key, row) for key, row in zip(piece, rows, strict=True)})
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, self.dim), dtype=np.float32)

    def _key(self, role: str, text: str) -> bytes:
        parts = (self._maker, role.encode(), text.encode())
        joined = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
        return hashlib.blake2b(joined, digest_size=KEY_BYTES).digest()

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        sealed = self.cache.read(keys) if keys else {}
        rows = {key: unseal(key, entry, self.dim) for key, entry in sealed.items()}
        good = {key: row for key, row in rows.items() if row is not None}
        if len(good) < len(rows) and not self._warned:
            self._warned = True
            _logger.warning("%d vector(s) in %r are damaged and are made again", len(rows) - len(good), self.cache)
        return good


def seal(key: bytes, row: Vectors) -> bytes:
    """Write a vector as bytes that show whether they were damaged, or stand under another key."""
    content = np.ascontiguousarray(row, dtype="<f4").tobytes()
    return hashlib.blake2b(key + content, digest_size=_SEAL_BYTES).digest() + content


def unseal(key: bytes, entry: bytes, dim: int) -> Vectors | None:
    """Read a vector that `seal` wrote; None when it is damaged or of another dim."""
    content = entry[_SEAL_BYTES:]
    if (
        len(content) != 4 * dim
        or hashlib.blake2b(key + content, digest_size=_SEAL_BYTES).digest() != entry[:_SEAL_BYTES]
    ):
        return None
    return np.frombuffer(content, dtype="<f4").astype(np.float32)


def open_cache(where: str | os.PathLike[str]) -> VectorCache:
    """Open a cache: a folder on this machine, made if missing, or a ``redis://`` URL for several machines.

    Raises:
        ConfigError: the folder cannot be made, or Redis cannot be reached.
        MissingDriverError: redis is not installed.
    """
    place = os.fspath(where)
    return RedisCache(place) if place.startswith(_REDIS) else FileCache(place)
