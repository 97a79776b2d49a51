"""Elasticsearch: ways in, and what is said when there is none."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote

import elastic_transport
import elasticsearch
import pytest
from qvec_elasticsearch import errors

from qvec.adapter import Adapter
from qvec.errors import (
    BackendConnectionError,
    ConfigError,
    QvecError,
    UnsupportedError,
)
from qvec.registry import open_adapter
from tests.adapters.elasticsearch_secured import Secured, secured_node
from tests.adapters.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""


@pytest.fixture(scope="module")
def secured() -> Secured:
    return secured_node()


@pytest.fixture(scope="module")
def adapter(secured: Secured) -> Iterator[Adapter]:
    opened = open_adapter(secured.uri())
    yield opened
    opened.close()


def test_a_cloud_id_is_taken_apart_by_the_client() -> None:
    cloud_id = "mine:" + base64.b64encode(f"localhost:{free_port()}$deployment$".encode()).decode()
    with pytest.raises(BackendConnectionError, match="Elasticsearch at mine"):
        open_adapter(f"elasticsearch:?cloud_id={quote(cloud_id)}&api_key=abc")


def test_a_server_that_is_down_is_a_connection_error_at_once_and_tells_no_password() -> None:
    started = time.monotonic()
    with pytest.raises(BackendConnectionError, match="check that the server runs") as caught:
        open_adapter(f"elasticsearch://elastic:tru5tn01@127.0.0.1:{free_port()}/")
    assert time.monotonic() - started < 60
    assert "tru5tn01" not in f"{caught.value} {caught.value.__cause__}"


class _OtherProduct(BaseHTTPRequestHandler):
    """Answers every request alike."""

    status, body, product = 200, "", ""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json" if self.body.startswith("{") else "text/html")
        if self.product:
            self.send_header("X-Elastic-Product", self.product)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def answering(status: int, body: str, product: str) -> HTTPServer:
    kind = type("Product", (_OtherProduct,), {"status": status, "body": body, "product": product})
    server = HTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("status", "body", "product", "error"),
    [
        (200, "<html>hello</html>", "", BackendConnectionError),
        (404, "<html>not found</html>", "", BackendConnectionError),
        (200, '{"version": {"number": "2.19.0", "distribution": "opensearch"}}', "", BackendConnectionError),
        (200, '{"version": {"number": "8.5.3"}}', "Elasticsearch", UnsupportedError),
    ],
)
def test_another_product_and_an_old_version_are_told_apart_by_a_typed_error(
    status: int, body: str, product: str, error: type[QvecError]
) -> None:
    server = answering(status, body, product)
    try:
        with pytest.raises(error, match="127"):
            open_adapter(f"elasticsearch://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "uri",
    [
        "elasticsearch:",
        "elasticsearch://localhost?speed=fast",
        "elasticsearch://localhost?timeout=soon",
        "elasticsearch://localhost?secure=perhaps",
        "elasticsearch://localhost?fingerprint=12:34",
        "elasticsearch://localhost?ca_certs=/no/such/file.pem",
        "elasticsearch+ftp://localhost",
        "elasticsearch://elastic:pw@localhost?api_key=abc",
        "elasticsearch:?cloud_id=nonsense",
    ],
)
def test_a_uri_that_makes_no_sense_is_a_config_error(uri: str) -> None:
    with pytest.raises(ConfigError):
        open_adapter(uri)


def test_every_error_of_the_driver_becomes_one_of_ours() -> None:
    meta = elastic_transport.ApiResponseMeta(
        500, "1.1", elastic_transport.HttpHeaders(), 0.0, elastic_transport.NodeConfig("http", "here", 9200)
    )
    kinds = {
        kind
        for module in (elasticsearch.exceptions, elastic_transport)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
    }
    assert len(kinds) > 10
    for kind in kinds:
        is_answer = issubclass(kind, elastic_transport.ApiError | elasticsearch.UnsupportedProductError)
        raised = kind("said so", meta, {"error": "said so"}) if is_answer else kind("said so")
        with pytest.raises(QvecError, match="here") as caught, errors.mapped("here"):
            raise raised
        assert caught.value.__cause__ is raised
    mapped = [theirs for theirs, _ in errors.MAP]
    for position, theirs in enumerate(mapped):
        assert not any(issubclass(theirs, earlier) for earlier in mapped[:position]), f"{theirs.__name__} is hidden"


@pytest.mark.server
class TestLogin:
    """Ways in."""

    @pytest.mark.parametrize("how", ["ca_certs", "fingerprint"])
    def test_a_password_with_any_characters_is_taken_over_tls(self, secured: Secured, how: str) -> None:
        options = {"ca_certs": f"ca_certs={secured.certificate}", "fingerprint": f"fingerprint={secured.fingerprint}"}
        adapter = open_adapter(secured.uri(options=options[how]))
        assert adapter.list_collections() == []
        adapter.close()

    def test_an_api_key_is_taken(self, secured: Secured, adapter: Adapter) -> None:
        with adapter._connection.use() as client:
            key = client.security.create_api_key(name="qvec")["encoded"]
        opened = open_adapter(secured.uri(user="", options=f"ca_certs={secured.certificate}&api_key={quote(key)}"))
        assert opened.capabilities.database.startswith("Elasticsearch")
        opened.close()

    def test_a_wrong_password_is_a_connection_error_that_does_not_tell_it(self, secured: Secured) -> None:
        with pytest.raises(BackendConnectionError, match="check the user, password or api_key") as caught:
            open_adapter(secured.uri(password="tru5tn01"))
        told = f"{caught.value} {caught.value.__cause__!r}"
        assert "tru5tn01" not in told
        assert "tester" in told

    def test_a_wrong_key_is_a_connection_error_that_does_not_tell_it(self, secured: Secured) -> None:
        key = base64.b64encode(b"nobody:tru5tn01").decode()
        with pytest.raises(BackendConnectionError) as caught:
            open_adapter(secured.uri(user="", options=f"ca_certs={secured.certificate}&api_key={quote(key)}"))
        assert key not in f"{caught.value} {caught.value.__cause__!r}"
        assert "tru5tn01" not in f"{caught.value} {caught.value.__cause__!r}"

    @pytest.mark.parametrize("options", ["secure=true", f"fingerprint={'00' * 32}"])
    def test_a_certificate_that_is_not_known_is_a_connection_error(self, secured: Secured, options: str) -> None:
        with pytest.raises(BackendConnectionError):
            open_adapter(secured.uri(options=options))

    def test_plain_http_to_a_tls_port_is_a_connection_error(self, secured: Secured) -> None:
        with pytest.raises(BackendConnectionError, match="http or https"):
            open_adapter(f"elasticsearch://127.0.0.1:{secured.node.port}")
