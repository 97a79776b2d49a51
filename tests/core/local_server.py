"""What the model servers of the tests share: up on a port of this machine as long as a ``with`` lasts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self


class LocalServer:
    """Serves `handler` from its own thread; a handler finds it as ``self.server.endpoint``."""

    model: ClassVar[str]

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.endpoint = self
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def name(self) -> str:
        return f"{self.model}@{self.url}"


class Handler(BaseHTTPRequestHandler):
    """Answers in one write and says nothing on the terminal."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Any

    def log_message(self, format: str, *args: object) -> None:
        pass

    def write(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:  # a client that gave up is part of the tests
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    endpoint: LocalServer
