"""Database addresses: ``scheme[+variant]://user:secret@host:port/path?option=value``; never shown with the secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from qvec.errors import ConfigError

_SECRET_OPTIONS = frozenset({"password", "token", "api_key", "apikey", "secret", "sslpassword"})


@dataclass(frozen=True, slots=True, repr=False)
class URI:
    """A parsed address. ``str()`` and ``repr()`` hide what is secret; `reveal` does not.

    Attributes:
        scheme: the entry point's name: ``milvus``, ``pgvector``, ``faiss`` ...
        path: percent-decoded; for an embedded database the file or folder. ``milvus:///a/b`` is the absolute ``/a/b``,
            ``milvus://./a/b`` and ``milvus:a/b`` are relative to the working directory.
    """

    scheme: str
    variant: str = ""
    user: str = ""
    password: str = ""
    host: str = ""
    port: int | None = None
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> URI:
        """Read an address.

        Raises:
            ConfigError: it has no scheme or a port that is no number.
        """
        parts = urlsplit(text)
        if not parts.scheme:
            raise ConfigError("a database URI looks like milvus:///path/file.db or postgresql://user@host/db")
        scheme, _, variant = parts.scheme.partition("+")
        try:
            port = parts.port
        except ValueError as exc:
            raise ConfigError(f"the port of the {scheme} URI is not a number from 0 to 65535") from exc
        host, path = parts.hostname or "", unquote(parts.path)
        if host in {".", ".."}:
            host, path = "", f"{host}{path}"
        return cls(
            scheme=scheme,
            variant=variant,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            host=host,
            port=port,
            path=path,
            options=dict(parse_qsl(parts.query, keep_blank_values=True)),
        )

    def reveal(self) -> str:
        """Write the address out with its secrets, for a driver."""
        return self._text(self.password, self.options)

    def __str__(self) -> str:
        shown = {key: "***" if key.lower() in _SECRET_OPTIONS else value for key, value in self.options.items()}
        return self._text("***" if self.password else "", shown)

    def __repr__(self) -> str:
        return f"URI({str(self)!r})"

    def check_options(self, known: frozenset[str]) -> None:
        """Refuse options that the adapter does not know.

        Raises:
            ConfigError: names the unknown and the known ones.
        """
        unknown = sorted(set(self.options) - known)
        if unknown:
            raise ConfigError(
                f"unknown option {unknown[0]!r} in the {self.scheme} URI; known: {', '.join(sorted(known))}"
            )

    def _text(self, password: str, options: Mapping[str, str]) -> str:
        scheme = f"{self.scheme}+{self.variant}" if self.variant else self.scheme
        secret = f":{quote(password, safe='*')}" if password else ""
        user = f"{quote(self.user, safe='')}{secret}@" if self.user or secret else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port is not None else ""
        query = f"?{urlencode(options, safe='*')}" if options else ""
        separator = "//" if host or user or self.path.startswith("/") or not self.path else ""
        return f"{scheme}:{separator}{user}{host}{port}{quote(self.path)}{query}"
