"""Opening Elasticsearch: from a URI to a client that has been answered by a server we know."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from elasticsearch import ApiError, Elasticsearch, OrjsonSerializer

from qvec.errors import BackendConnectionError, BackendError, ConfigError, UnsupportedError
from qvec.uri import URI
from qvec_elasticsearch.errors import mapped

DEFAULT_PORT = 9200
OPTIONS = frozenset(
    {"api_key", "ca_certs", "cloud_id", "fingerprint", "patience", "replicas", "secure", "shards", "timeout"}
)
Version = tuple[int, int]
MIN_VERSION: Version = (8, 12)
"""The first with ``knn`` as a query, whose hits a script can score."""

_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")


@dataclass(slots=True)
class Connection:
    """An open Elasticsearch.

    Attributes:
        client: safe to use from several threads.
        place: the server's name in messages, without secrets.
        version: major and minor.
        number: the version, whole.
        patience: for how many seconds a write is tried again while the server is busy or away.
        shards: primary shards of a new index.
        replicas: copies of a new index; None for one where there is a second node.
        noting: held while the notes in a mapping are read and written again: they are one value.
    """

    client: Elasticsearch
    place: str
    version: Version
    number: str
    patience: float
    shards: int
    replicas: int | None
    closed: bool = False
    noting: Lock = field(default_factory=Lock)

    @contextmanager
    def use(self, name: str = "") -> Iterator[Elasticsearch]:
        """Give the client; errors come out as qvec's, and name the collection `name`."""
        client = self.opened()
        with mapped(self.place, name):
            yield client

    def opened(self) -> Elasticsearch:
        """Give the client, whose errors are the driver's.

        Raises:
            BackendConnectionError: the connection was closed.
        """
        if self.closed:
            raise BackendConnectionError(f"the connection to Elasticsearch at {self.place} was closed; connect again")
        return self.client

    def close(self) -> None:
        """Let go; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self.client.close()


def open_server(uri: URI) -> Connection:
    """Connect.

    Raises:
        ConfigError: an option is unknown or cannot be read.
        BackendConnectionError: no server answers, it refuses the login, or it is another product.
        UnsupportedError: the server is too old, or the client of another major version.
    """
    uri.check_options(OPTIONS)
    place, client = _client(uri)
    number = _ask_version(client, place)
    version = _numbers(number)
    if version < MIN_VERSION:
        client.close()
        raise UnsupportedError(f"Elasticsearch at {place} is {number}; qvec needs 8.12 or later")
    return Connection(
        client,
        place,
        version,
        number,
        patience=_number(uri, "patience", 120.0),
        shards=int(_number(uri, "shards", 1)),
        replicas=int(_number(uri, "replicas", 0)) if "replicas" in uri.options else None,
    )


def _client(uri: URI) -> tuple[str, Elasticsearch]:
    given = uri.options
    cloud_id = given.get("cloud_id")
    if not uri.host and not cloud_id:
        raise ConfigError("an Elasticsearch URI names a server: elasticsearch://user:password@host:9200")
    if uri.user and given.get("api_key"):
        raise ConfigError("the elasticsearch URI has a user and an api_key: give one of them")
    place = cloud_id.partition(":")[0] if cloud_id else f"{uri.host}:{uri.port or DEFAULT_PORT}"
    where: dict[str, Any] = {"cloud_id": cloud_id} if cloud_id else {"hosts": [_address(uri)]}
    if given.get("ca_certs"):
        if not Path(given["ca_certs"]).is_file():
            raise ConfigError(f"ca_certs in the elasticsearch URI names no file: {given['ca_certs']}")
        where["ca_certs"] = given["ca_certs"]
    if given.get("fingerprint"):
        if not _FINGERPRINT.fullmatch(given["fingerprint"]):
            raise ConfigError("fingerprint in the elasticsearch URI is not a SHA-256 in hexadecimal, 64 digits")
        where["ssl_assert_fingerprint"] = given["fingerprint"]
    try:
        client = Elasticsearch(
            **where,
            basic_auth=_login(uri) if uri.user else None,
            api_key=given.get("api_key") or None,
            request_timeout=_number(uri, "timeout", 60.0),
            max_retries=2,
            serializer=OrjsonSerializer(),
        )
    except (ValueError, OSError) as exc:
        raise ConfigError(f"the elasticsearch URI for {place} cannot be used: {exc}") from exc
    return place, client


def _login(uri: URI) -> str:
    # The client (9.5) takes no user and password beyond ASCII, but what a header says as it stands (RFC 7617).
    return base64.b64encode(f"{uri.user}:{uri.password}".encode()).decode()


def _address(uri: URI) -> str:
    if uri.variant not in {"", "http", "https"}:
        raise ConfigError(f"elasticsearch+{uri.variant} is unknown: elasticsearch+http or elasticsearch+https")
    secure = uri.options.get("secure", "").lower()
    if secure not in {"", "true", "false"}:
        raise ConfigError("secure in the elasticsearch URI is true or false")
    by_tls = uri.variant == "https" or secure == "true" or bool({"ca_certs", "fingerprint"} & uri.options.keys())
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    return f"{'https' if by_tls else 'http'}://{host}:{uri.port or DEFAULT_PORT}{uri.path.rstrip('/')}"


def _ask_version(client: Elasticsearch, place: str) -> str:
    try:
        with mapped(place):
            return str(client.options(max_retries=0).info()["version"]["number"])
    except BackendConnectionError:
        client.close()
        raise
    except BackendError as exc:
        client.close()
        cause = exc.__cause__
        if isinstance(cause, ApiError) and cause.meta.status == 403:
            raise BackendConnectionError(str(exc)) from cause
        raise BackendConnectionError(f"{place} does not answer as Elasticsearch does: {exc}") from cause


def _numbers(version: str) -> Version:
    major, minor = [*re.findall(r"\d+", version), "0", "0"][:2]
    return int(major), int(minor)


def _number(uri: URI, option: str, default: float) -> float:
    try:
        found = float(uri.options.get(option, default))
    except ValueError as exc:
        raise ConfigError(f"{option} in the elasticsearch URI is not a number") from exc
    if not 0 <= found < 1e9:
        raise ConfigError(f"{option} in the elasticsearch URI is below 0 or absurdly large")
    return found
