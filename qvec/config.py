"""Which database and model to use: argument, environment, ``./qvec.toml``, the user's file, default, in this order.

A configuration file::

    backend = "prod"             # a profile's name, a backend's name or a URI
    model = "bundled"
    dim = 256
    cache = true                 # keep vectors; or a folder, or redis://host:6379/0
    device = "cuda:0,cuda:1"     # of models that run in torch
    long_text = "pool"           # of new collections: chunk, truncate, pool or error

    [profiles.prod]              # --backend prod
    uri = "postgresql://me:${PGPASSWORD}@db.example.org/search"
    model = "Qwen/Qwen3-Embedding-0.6B"
    dim = 1024

    [profiles.milvus]            # --backend milvus, instead of the embedded one
    uri = "milvus://localhost:19530"

A profile may have ``device`` and ``long_text`` too. The environment has ``QVEC_BACKEND``, ``QVEC_MODEL``, ``QVEC_DIM``,
``QVEC_CACHE``, ``QVEC_DEVICE`` and ``QVEC_LONG_TEXT``.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import quote

from qvec.errors import ConfigError, UnknownAdapterError
from qvec.long_text import LONG_TEXTS
from qvec.registry import DEFAULT_MODEL, embedded_uri
from qvec.uri import URI

DEFAULT_BACKEND = "faiss"
FILE_NAME = "qvec.toml"
FOLDER_NAME = ".qvec"

Found = TypeVar("Found")

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_EITHER = ("device", "long_text")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration comes to.

    Attributes:
        uri: of the database.
        model: name of the model for new collections.
        dim: width to cut its vectors to; None for its own.
        files: the configuration files that were read.
        cache: folder or ``redis://`` URL where vectors are kept; None: they are not.
        device: where models compute that have the choice.
        long_text: of new collections.
    """

    uri: URI
    model: str = DEFAULT_MODEL
    dim: int | None = None
    files: tuple[Path, ...] = ()
    cache: str | None = None
    device: str | None = None
    long_text: str | None = None


@dataclass(frozen=True, slots=True)
class _Layer:
    """One place that says something about the settings, and how it is called in messages."""

    origin: str
    backend: str | None = None
    uri: str | None = None
    model: str | None = None
    dim: int | None = None
    cache: bool | str | None = None
    device: str | None = None
    long_text: str | None = None
    profiles: Mapping[str, _Layer] = field(default_factory=dict)


def resolve(
    backend: str | URI | None = None,
    *,
    model: str | None = None,
    dim: int | None = None,
    cache: bool | str | None = None,
    env: Mapping[str, str],
    cwd: Path,
) -> Settings:
    """Find the database and the model to use.

    A dim from a file counts only with the model of that file or of one that it overrules: the dim of one model means
    nothing to another.

    Args:
        backend: a URI, a profile's name or a backend's name.
        model: overrules what environment and files say.
        dim: overrules what environment and files say.
        cache: True for the user's cache folder, a folder, a ``redis://`` URL, or False; overrules likewise.
        env: the environment.
        cwd: where ``qvec.toml`` is looked for and embedded databases lie, under ``.qvec``.

    Raises:
        ConfigError: a file cannot be read, has an unknown key or a wrong value; a variable in a URI is not set.
        UnknownAdapterError: no profile or backend has this name; the nearest is offered.
        MissingDriverError: the backend's driver is not installed.
    """
    files = config_files(env=env, cwd=cwd)
    layers = [_layer(path) for path in files]
    named = _environment(env)
    if isinstance(backend, URI):
        uri, profiles = backend, list[_Layer]()
    else:
        name = backend or named.backend or _first(layers, lambda layer: layer.backend) or DEFAULT_BACKEND
        uri, profiles = _database(name, layers, env, cwd)
    ranked = [_Layer("argument", model=model, dim=dim), named, *profiles, *layers, _Layer("", model=DEFAULT_MODEL)]
    chosen = next(index for index, layer in enumerate(ranked) if layer.model)
    width = _first(ranked[: max(chosen, 1) + 1], lambda layer: layer.dim)
    kept = _cache_place([_Layer("argument", cache=cache), named, *layers], env)
    return Settings(
        uri,
        cast(str, ranked[chosen].model),
        width,
        tuple(files),
        kept,
        device=_first(ranked, lambda layer: layer.device),
        long_text=_first(ranked, lambda layer: layer.long_text),
    )


def config_files(*, env: Mapping[str, str], cwd: Path) -> list[Path]:
    """Name the configuration files that are there, the one that overrules first."""
    places = [cwd / FILE_NAME]
    home = env.get("XDG_CONFIG_HOME") or (f"{env['HOME']}/.config" if env.get("HOME") else env.get("APPDATA"))
    if home:
        places.append(Path(home) / "qvec" / "config.toml")
    return [place for place in places if place.is_file()]


def profile_names(*, env: Mapping[str, str], cwd: Path) -> list[str]:
    """Name the profiles of all configuration files, sorted.

    Raises:
        ConfigError: a file cannot be read or has an unknown key.
    """
    return sorted({name for path in config_files(env=env, cwd=cwd) for name in _layer(path).profiles})


def _database(name: str, layers: Sequence[_Layer], env: Mapping[str, str], cwd: Path) -> tuple[URI, list[_Layer]]:
    """Read a name as a URI, else as a profile, else as a backend with an embedded database."""
    if _URI.match(name):
        return URI.parse(name), []
    profiles = [layer.profiles[name] for layer in layers if name in layer.profiles]
    address = next((profile for profile in profiles if profile.uri), None)
    if address is not None:
        return _expanded(address, env), profiles
    try:
        return embedded_uri(name, cwd / FOLDER_NAME), profiles
    except UnknownAdapterError as exc:
        known = sorted({profile for layer in layers for profile in layer.profiles})
        raise UnknownAdapterError(f"{exc}; profiles: {', '.join(known)}" if known else str(exc)) from exc


def _expanded(profile: _Layer, env: Mapping[str, str]) -> URI:
    """Fill in ``${VAR}``; in the user or the password of a URI it stands for any characters, an ``@`` or ``/`` too."""
    template = profile.uri or ""
    userinfo = re.match(r"[^:]+://([^/?#]*)@", template)

    def value(match: re.Match[str]) -> str:
        if match[1] not in env:
            raise ConfigError(f"{profile.origin}: uri needs the environment variable {match[1]!r}, which is not set")
        inside = userinfo is not None and match.end() <= userinfo.end(1)
        return quote(env[match[1]], safe="") if inside else env[match[1]]

    return URI.parse(_VARIABLE.sub(value, template))


def _cache_place(layers: Sequence[_Layer], env: Mapping[str, str]) -> str | None:
    """Find where vectors are kept; a mere True takes the place that a layer further down names."""
    stated: list[bool | str] = [layer.cache for layer in layers if layer.cache is not None]
    if not stated or stated[0] is False:
        return None
    place = next((cache for cache in stated if isinstance(cache, str)), None)
    if place is not None:
        return place
    home = env.get("XDG_CACHE_HOME") or (f"{env['HOME']}/.cache" if env.get("HOME") else env.get("LOCALAPPDATA"))
    if not home:
        raise ConfigError("no cache folder is known, as neither HOME nor XDG_CACHE_HOME is set: give cache= a folder")
    return str(Path(home) / "qvec")


def _first(layers: Sequence[_Layer], get: Callable[[_Layer], Found | None]) -> Found | None:
    return next((found for layer in layers if (found := get(layer)) is not None), None)


def _environment(env: Mapping[str, str]) -> _Layer:
    dim = env.get("QVEC_DIM") or None
    if dim is not None and not (dim.isascii() and dim.isdecimal() and int(dim)):
        raise ConfigError(f"QVEC_DIM={dim!r}: takes a whole number from 1")
    return _Layer(
        "the environment",
        backend=env.get("QVEC_BACKEND") or None,
        model=env.get("QVEC_MODEL") or None,
        dim=int(dim) if dim else None,
        cache=_SWITCH.get(env.get("QVEC_CACHE", "").lower(), env.get("QVEC_CACHE")) if env.get("QVEC_CACHE") else None,
        device=env.get("QVEC_DEVICE") or None,
        long_text=_policy(env.get("QVEC_LONG_TEXT") or None, "QVEC_LONG_TEXT"),
    )


def _layer(path: Path) -> _Layer:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc
    profiles = content.pop("profiles", {})
    if not isinstance(profiles, dict):
        raise ConfigError(f"{path}: profiles is {profiles!r}; takes tables, [profiles.name]")
    origin = str(path)
    _check_keys(content, ("backend", "model", "dim", "cache", *_EITHER), origin)
    cache = content.get("cache")
    return _Layer(
        origin,
        cache=cache if isinstance(cache, bool) else _text(content, "cache", origin),
        backend=_text(content, "backend", origin),
        model=_text(content, "model", origin),
        dim=_whole(content, "dim", origin),
        device=_text(content, "device", origin),
        long_text=_policy(_text(content, "long_text", origin), f"{origin}: long_text"),
        profiles={name: _profile(profile, f"{origin}: profiles.{name}") for name, profile in profiles.items()},
    )


def _profile(content: object, origin: str) -> _Layer:
    if not isinstance(content, dict):
        raise ConfigError(f"{origin} is {content!r}; takes a table with uri, model, dim")
    _check_keys(content, ("uri", "model", "dim", *_EITHER), origin)
    return _Layer(
        origin,
        uri=_text(content, "uri", origin),
        model=_text(content, "model", origin),
        dim=_whole(content, "dim", origin),
        device=_text(content, "device", origin),
        long_text=_policy(_text(content, "long_text", origin), f"{origin}: long_text"),
    )


def _check_keys(content: Mapping[str, object], known: Sequence[str], origin: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{origin}: unknown key {key!r}{hint} Known: {', '.join(known)}")


def _text(content: Mapping[str, object], key: str, origin: str) -> str | None:
    value = content.get(key)
    if value is not None and not (isinstance(value, str) and value):
        raise ConfigError(f"{origin}: {key} takes a string of at least one character, not {type(value).__name__}")
    return value


def _policy(value: str | None, origin: str) -> str | None:
    if value is not None and value not in LONG_TEXTS:
        raise ConfigError(f"{origin} takes {', '.join(LONG_TEXTS)}, not {value!r}")
    return value


def _whole(content: Mapping[str, object], key: str, origin: str) -> int | None:
    value = content.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"{origin}: {key} takes a whole number from 1, not {value!r}")
    return value
