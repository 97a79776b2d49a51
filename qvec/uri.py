"""Database addresses: ``scheme[+variant]://user:secret@host:port/path?option=value``; never shown with the secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from qvec.errors import ConfigError

_SECRET_WORDS = ("password", "passwd", "pwd", "token", "secret", "apikey", "api_key")
_NOT_ENCODED = (
    "the database URI cannot be read: write the characters / ? # [ ] @ % in a user, password, path or option as "
    "%2F %3F %23 %5B %5D %40 %25"
)


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
            ConfigError: it has no scheme, a port that is no number, or reserved characters that are not encoded.
        """
        parts, port = _split(text)
        scheme, _, variant = parts.scheme.partition("+")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        on_server = parts.netloc not in {"", ".", ".."}
        if parts.fragment or any("@" in key for key in options) or (on_server and "@" in parts.path):
            raise ConfigError(_NOT_ENCODED)
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
            options=options,
        )

    def reveal(self) -> str:
        """Write the address out with its secrets, for a driver."""
        return self._text(self.password, self.options)

    def __str__(self) -> str:
        shown = {key: "***" if _is_secret(key) else value for key, value in self.options.items()}
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


def without_secrets(place: str) -> str:
    """Write a place as it may be shown: a URI's password and tokens as stars; all else, a name too, as it is."""
    if ":" not in place:
        return place
    uri = URI.parse(place)
    return place if uri.reveal() == str(uri) else str(uri)


def _split(text: str) -> tuple[SplitResult, int | None]:
    # Without the cause: urllib's messages quote what they stumble over, which can be a piece of the password.
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ConfigError(_NOT_ENCODED) from None
    if not parts.scheme:
        raise ConfigError("a database URI looks like milvus:///path/file.db or postgresql://user@host/db")
    try:
        return parts, parts.port
    except ValueError:
        raise ConfigError(
            f"the port of the {parts.scheme} URI is not a number from 0 to 65535; is the password percent-encoded?"
        ) from None


def _is_secret(option: str) -> bool:
    return option.lower().endswith(_SECRET_WORDS)
