"""JSON over HTTP with connections kept open.

The standard library suffices: requests are few and large, callers are threads, and an extra package less is to install.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from qvec.errors import EndpointError

_CONNECT_SECONDS = 10.0
_LEAST_SECONDS = 0.01
# A server may close a connection that waits; a request on it then fails before anything was done for it.
_GONE_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: status, headers with names in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """The connections to one server; safe to share between threads, and closed when it is let go of."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 120.0) -> None:
        """Take a server; nothing is sent yet.

        Args:
            url: base URL, which paths are appended to.
            key: shown as a bearer token; never part of a message.
            timeout: seconds that the server may stay silent.
        """
        parts = urlsplit(url)
        self.url = url
        self._timeout = timeout
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._path = parts.path
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "qvec"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        proxy = getproxies().get(parts.scheme) if not proxy_bypass(self._host) else None
        self._proxy = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
        self._tls = ssl.create_default_context() if self._secure else None
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._finalizer = weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """Close the connections that wait."""
        _close_all(self._idle)

    def get(self, path: str) -> Answer:
        """Ask for ``url + path``.

        Raises:
            EndpointError: no answer came.
        """
        return self._ask("GET", self._path + path, None)

    def get_beside(self, path: str) -> Answer:
        """Ask for a path at the server's root, beside the versioned API.

        Raises:
            EndpointError: no answer came.
        """
        return self._ask("GET", self._path.removesuffix("/v1") + path, None)

    def post(self, path: str, content: Mapping[str, object], *, timeout: float | None = None) -> Answer:
        """Send JSON to ``url + path``, and wait `timeout` seconds at most where that is less than the server is given.

        Raises:
            EndpointError: no answer came.
        """
        return self._ask("POST", self._path + path, json.dumps(content).encode(), timeout)

    def post_beside(self, path: str, content: Mapping[str, object], *, timeout: float | None = None) -> Answer:
        """Send JSON to a path at the server's root, beside the versioned API.

        Raises:
            EndpointError: no answer came.
        """
        place = self._path.removesuffix("/v1") + path
        return self._ask("POST", place, json.dumps(content).encode(), timeout)

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float | None = None) -> Answer:
        patience = self._timeout if timeout is None else min(self._timeout, max(timeout, _LEAST_SECONDS))
        kept = self._take()
        try:
            if kept is not None:
                try:
                    return self._exchange(kept, method, path, body, patience)
                except _GONE_STALE:
                    pass
            return self._exchange(self._open(patience), method, path, body, patience)
        except (OSError, http.client.HTTPException) as exc:
            raise self._unanswered(exc, patience) from exc

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, patience: float
    ) -> Answer:
        connection.sock.settimeout(patience)
        target = f"http://{self._host}:{self._port}{path}" if self._proxy and not self._secure else path
        try:
            connection.request(method, target, body=body, headers=self._headers)
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return answer

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        host, port = (self._proxy.hostname or "", self._proxy.port or 80) if self._proxy else (self._host, self._port)
        patience = min(_CONNECT_SECONDS, timeout)
        connection = (
            http.client.HTTPConnection(host, port, timeout=patience)
            if self._tls is None
            else http.client.HTTPSConnection(host, port, timeout=patience, context=self._tls)
        )
        try:
            if self._proxy and self._secure:
                connection.set_tunnel(self._host, self._port)
            connection.connect()
        except TimeoutError as exc:
            connection.close()
            raise EndpointError(f"{self.url} took no connection within {patience:g} s") from exc
        except BaseException:
            connection.close()
            raise
        return connection

    def _unanswered(self, error: Exception, patience: float) -> EndpointError:
        if isinstance(error, TimeoutError):
            return EndpointError(f"{self.url} did not answer within {patience:g} s")
        if isinstance(error, socket.gaierror):
            return EndpointError(f"{self.url}: the host's name cannot be resolved")
        return EndpointError(f"{self.url} gave no answer ({type(error).__name__}: {error})")


def _close_all(connections: list[http.client.HTTPConnection]) -> None:
    while connections:
        connections.pop().close()
