"""A cache in Redis, shared by several machines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qvec.embedders.cache_store import VectorCache
from qvec.errors import ConfigError, MissingDriverError
from qvec.uri import URI

KEEP_SECONDS = 30 * 24 * 3600
_PREFIX = b"qvec:1:"
_KEYS_AT_ONCE = 1000
_TIMEOUT = 5.0
# A server that went away costs every call its timeout otherwise.
_REST_SECONDS = 60.0
_logger = logging.getLogger(__name__)


class RedisCache(VectorCache):
    """Vectors in Redis 6.2 or newer; each goes when it was not used for a while, or as ``maxmemory-policy`` says."""

    def __init__(
        self, url: str, *, keep_seconds: int = KEEP_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Connect.

        Args:
            url: ``redis://[:password@]host:6379/0``, ``rediss://`` or ``unix://``; never shown with the password.
            keep_seconds: how long a vector that nobody asks for is kept.
            clock: tells for how long a server that failed is left alone.

        Raises:
            ConfigError: the URL cannot be read, or nothing answers there.
            MissingDriverError: redis is not installed.
        """
        try:
            import redis
        except ImportError as exc:
            raise MissingDriverError("redis", "redis") from exc
        self._shown = str(URI.parse(url))
        self._keep = keep_seconds
        self._clock = clock
        self._rests_until = 0.0
        self._errors = (redis.RedisError, OSError)
        try:
            self._client: Any = redis.Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
            self._client.ping()
        except ValueError as exc:
            raise ConfigError(f"the cache's URL {self._shown} cannot be used: redis://host:6379/0 is one") from exc
        except self._errors as exc:
            self._client.close()
            raise ConfigError(
                f"the cache at {self._shown} does not answer: start Redis, or index without cache"
            ) from exc
        self._warn_when_unbounded()

    def __repr__(self) -> str:
        return f"RedisCache({self._shown!r})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is held of these keys, and keep it for another while."""
        return self._guarded(lambda: self._read(keys))

    def write(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries."""
        self._guarded(lambda: self._write(entries))

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            piece = keys[start : start + _KEYS_AT_ONCE]
            with self._client.pipeline(transaction=False) as pipeline:
                for key in piece:
                    pipeline.getex(_PREFIX + key, ex=self._keep)
                answers: list[bytes | None] = pipeline.execute()
            found |= {key: sealed for key, sealed in zip(piece, answers, strict=True) if sealed is not None}
        return found

    def _write(self, entries: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        with self._client.pipeline(transaction=False) as pipeline:
            for key, sealed in entries.items():
                pipeline.set(_PREFIX + key, sealed, ex=self._keep)
            pipeline.execute()
        return {}

    def _guarded(self, work: Callable[[], dict[bytes, bytes]]) -> dict[bytes, bytes]:
        if self._clock() < self._rests_until:
            return {}
        try:
            return work()
        except self._errors as exc:
            self._rests_until = self._clock() + _REST_SECONDS
            _logger.warning("%r failed (%s): going on without it for %g s", self, exc, _REST_SECONDS)
            return {}

    def _warn_when_unbounded(self) -> None:
        try:
            limit = self._client.config_get("maxmemory").get("maxmemory")
        except self._errors:
            return
        if limit is not None and int(limit) == 0:
            _logger.warning(
                "%r has no maxmemory: set it, with maxmemory-policy allkeys-lru, or it grows for %d days",
                self,
                self._keep // 86400,
            )
