"""An Elasticsearch node on which it is easy to have a bad day."""

from __future__ import annotations

import atexit
import base64
import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.adapters.elasticsearch_node import Node, client_major, unavailable
from tests.adapters.servers import PASSWORD, once


@dataclass
class Secured:
    """A node that asks for a password, speaks TLS, takes requests of at most 6 MB, and two writes at once."""

    node: Node
    certificate: Path
    fingerprint: str

    def uri(self, *, user: str = "tester", password: str = PASSWORD, options: str = "") -> str:
        login = f"{user}:{quote(password, safe='')}@" if user else ""
        options = options or f"ca_certs={self.certificate}&patience=600"
        return f"elasticsearch+https://{login}127.0.0.1:{self.node.port}/?{options}"


@once
def secured_node() -> Secured:
    """Start the node; it ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="qvec-certificate-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    fingerprint = make_certificate(certificate, key)
    node = Node(
        client_major(),
        scheme="https",
        settings={
            "xpack.security.enabled": "true",
            "xpack.security.http.ssl.enabled": "true",
            "xpack.security.http.ssl.certificate": "certificate.pem",
            "xpack.security.http.ssl.key": "key.pem",
            "http.max_content_length": "6mb",
            "thread_pool.write.size": "1",
            "thread_pool.write.queue_size": "1",
        },
        files={
            "users": f"tester:{hashed(PASSWORD)}\n",
            "users_roles": "superuser:tester\n",
            "certificate.pem": certificate.read_text(),
            "key.pem": key.read_text(),
        },
    )
    node.start()
    return Secured(node, certificate, fingerprint)


def make_certificate(certificate: Path, key: Path) -> str:
    """Make a certificate that vouches for itself; return its fingerprint."""
    if shutil.which("openssl") is None:
        unavailable("no openssl to make a certificate with")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", names]
    written = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *made, *written], check=True, capture_output=True)
    binary = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-outform", "DER"], check=True, capture_output=True
    ).stdout
    return hashlib.sha256(binary).hexdigest()


def hashed(password: str) -> str:
    """Write a password as Elasticsearch's file of users holds it."""
    salt = b"0123456789abcdef0123456789abcdef"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
    return f"{{PBKDF2}}10000${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
