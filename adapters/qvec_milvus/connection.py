"""Opening Milvus: a Lite file of this process, or a server."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qvec.errors import BackendConnectionError, MissingDriverError
from qvec.uri import URI
from qvec_milvus.errors import mapped

KeywordForm = Literal["function", "terms", "words"]
DEFAULT_PORT = 19_530
_BM25_SINCE = (2, 5)
_REMEMBERED = 200_000
"""Sources written since the last refresh that are remembered by name."""
# Lite serves from a thread of this process, which may wait its turn on a busy machine. pymilvus would ask every ten
# seconds whether it lives, and gRPC's server hangs up on who asks so often: "Too many pings".
_LITE_SECONDS = 60
_LITE_GRPC = {"grpc.keepalive_time_ms": 2**31 - 1, "grpc.keepalive_permit_without_calls": False}


@dataclass(slots=True)
class Connection:
    """An open Milvus."""

    client: Any
    driver: Any
    place: str
    is_lite: bool
    version: str
    closed: bool = False
    unsettled: dict[str, set[str] | None] = field(default_factory=dict)
    grown: dict[str, int] = field(default_factory=dict)

    @property
    def keywords(self) -> KeywordForm:
        """How new collections hold their tokens: for Milvus' BM25 function, or to be counted here."""
        if self.is_lite:
            return "words"
        return "function" if _numbers(self.version) >= _BM25_SINCE else "terms"

    @property
    def auto_kind(self) -> Literal["flat", "hnsw"]:
        """The index of ``auto``: Lite is for what one process holds, and searches it exactly."""
        return "flat" if self.is_lite else "hnsw"

    def wrote(self, name: str, sources: Sequence[str] | None = None) -> None:
        """Note that a collection is about to be written to: records of these sources, or None for any."""
        held = self.unsettled.setdefault(name, set())
        self.grown[name] = self.grown.get(name, 0) + len(sources or ())
        if sources is None or held is None or len(held) > _REMEMBERED:
            self.unsettled[name] = None
        else:
            held.update(sources)

    def level(self, name: str, sources: Sequence[str] | None = None) -> str:
        """How sure a read of a collection, or of the records of some sources, has to be.

        A strong read waits for the server's next tick, up to 0.2 s: so only until a refresh has waited for our writes,
        and only for what they wrote.
        """
        held = self.unsettled.get(name, set())
        untouched = held is not None and (held.isdisjoint(sources) if sources is not None else not held)
        return "Bounded" if untouched else "Strong"

    def check_open(self) -> None:
        """Raise BackendConnectionError when it was closed."""
        if self.closed:
            raise BackendConnectionError(f"the connection to Milvus at {self.place} was closed; connect again")

    @contextmanager
    def use(self) -> Iterator[Any]:
        """Give the client; errors come out as qvec's."""
        self.check_open()
        with mapped(self.place):
            yield self.client

    def close(self) -> None:
        """Let go; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self.client.close()


def open_file(path: Path) -> Connection:
    """Open a Lite file, making it when it is not there."""
    driver = _driver()
    try:
        import milvus_lite
    except ImportError as exc:
        raise MissingDriverError("milvus-lite", "milvus") from exc
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with mapped(str(path)):
            client = driver.MilvusClient(str(path), timeout=_LITE_SECONDS, grpc_options=_LITE_GRPC)
    except (OSError, RuntimeError, ValueError) as exc:
        raise BackendConnectionError(f"Milvus Lite cannot open {path}: {exc}") from exc
    version = str(getattr(milvus_lite, "__version__", ""))
    return Connection(client, driver, str(path), is_lite=True, version=version)


def open_server(uri: URI, *, timeout: float) -> Connection:
    """Connect to a server."""
    driver = _driver()
    scheme = "https" if uri.options.get("secure", "").lower() == "true" else "http"
    place = f"{uri.host}:{uri.port or DEFAULT_PORT}"
    with mapped(place):
        client = driver.MilvusClient(
            uri=f"{scheme}://{place}",
            user=uri.user,
            password=uri.password,
            db_name=uri.path.strip("/"),
            token=uri.options.get("token", ""),
            timeout=timeout,
        )
        version = str(client.get_server_version()).lstrip("v")
    return Connection(client, driver, place, is_lite=False, version=version)


def _driver() -> Any:
    try:
        import pymilvus
    except ImportError as exc:
        raise MissingDriverError("pymilvus", "milvus") from exc
    # pymilvus logs each failed call with a traceback before it raises; we raise, and do not log as well.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())
