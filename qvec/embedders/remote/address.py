"""Which model on which server: ``MODEL@http://host:8000/v1?tokenizer=FOLDER``, and the key that is shown to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from qvec.errors import ConfigError

KIND = "openai"
OPENAI = "https://api.openai.com/v1"
KEY = "QVEC_EMBED_API_KEY"
EXAMPLE = f"{KIND}:Qwen/Qwen3-Embedding-0.6B@http://localhost:8000/v1"
OPTIONS = ("document", "key_env", "max_tokens", "query", "revision", "tokenizer")
_SPEC = re.compile(r"(?P<model>[^?]*?)(?:@(?P<url>https?://[^?]*))?(?:\?(?P<options>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """A model on a server.

    Attributes:
        model: as the server calls it.
        url: up to and including the version, ``http://host:8000/v1``, without a slash at its end.
        options: what else the name said.
        kind: of model, the name's first part.
    """

    model: str
    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    kind: str = KIND

    @property
    def model_id(self) -> str:
        """The name that `qvec.registry` reads as this address again."""
        query = f"?{urlencode(sorted(self.options.items()), quote_via=quote)}" if self.options else ""
        return f"{self.kind}:{self.model}" + ("" if self.url == OPENAI else f"@{self.url}") + query


def read_address(name: str, *, env: Mapping[str, str]) -> Address:
    """Read the name of an embedding model: ``MODEL``, ``MODEL@URL`` or either with ``?option=value``.

    Args:
        name: a model without URL is looked for at ``OPENAI_BASE_URL``, else at OpenAI.
        env: the environment.

    Raises:
        ConfigError: no model is named, the URL cannot be used or holds a password, or an option is unknown.
    """
    model, url, options = split_name(name, kind=KIND, known=OPTIONS, example=EXAMPLE)
    return Address(model, clean_url(url or env.get("OPENAI_BASE_URL") or OPENAI), options)


def split_name(name: str, *, kind: str, known: Sequence[str], example: str) -> tuple[str, str | None, dict[str, str]]:
    """Split ``MODEL@URL?option=value`` into the model, the URL if there is one, and the options.

    Raises:
        ConfigError: no model is named, an option is unknown, or ``max_tokens`` is no number.
    """
    found = _SPEC.fullmatch(name)
    if found is None or not found["model"]:
        raise ConfigError(f"no model named: write {example}")
    options = dict(parse_qsl(found["options"] or "", keep_blank_values=True))
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]!r} of an {kind} model; known: {', '.join(known)}")
    if not options.get("max_tokens", "1").isdecimal() or options.get("max_tokens") == "0":
        raise ConfigError(f"max_tokens={options['max_tokens']!r}: takes a whole number from 1")
    return found["model"], found["url"], options


def clean_url(url: str) -> str:
    """Return an endpoint's base URL in its one spelling: host in lower case, ``/v1`` where no path is given.

    Raises:
        ConfigError: it is no http(s) URL, or holds a user or password.
    """
    # Without the cause: urllib's messages quote what they stumble over, which can be a piece of the password.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("the endpoint's URL cannot be read: write http://host:8000/v1") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError("an endpoint's URL looks like http://host:8000/v1")
    if "@" in parts.netloc:
        raise ConfigError(f"an endpoint's URL holds no password, because names are shown: put the key in {KEY}")
    if parts.query or parts.fragment:
        raise ConfigError("an endpoint's URL ends with its path, http://host:8000/v1")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/embeddings").removesuffix("/rerank") or "/v1"
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"


def find_key(address: Address, *, env: Mapping[str, str]) -> str | None:
    """Find the key to show to a server.

    ``OPENAI_API_KEY`` goes to OpenAI and to ``OPENAI_BASE_URL`` alone: another server has no business seeing it.

    Raises:
        ConfigError: the variable that the name asks for is not set.
    """
    named = named_key(address, env=env)
    if named or env.get(KEY):
        return named or env[KEY]
    base = env.get("OPENAI_BASE_URL")
    is_openai = address.url == OPENAI or (bool(base) and address.url == clean_url(str(base)))
    return env.get("OPENAI_API_KEY") or None if is_openai else None


def named_key(address: Address, *, env: Mapping[str, str]) -> str | None:
    """Find the key in the variable that a model's name asks for with ``key_env``; None when it does not.

    Raises:
        ConfigError: the variable is not set.
    """
    named = address.options.get("key_env")
    if named and not env.get(named):
        raise ConfigError(f"the model's name takes its key from the environment variable {named}, which is not set")
    return env[named] if named else None
