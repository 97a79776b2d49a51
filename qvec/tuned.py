"""What tuning chose for the collections that are asked from here, in ``.qvec/tuned.json``.

It lies here and not in the database: the trade of recall against time was measured from this machine, reading a
collection must not need the right to change it, and every adapter has it without a word for it in the seam.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qvec.errors import ConfigError
from qvec.uri import URI

FILE_NAME = "tuned.json"


def place_of(uri: URI) -> str:
    """Name a database without its user, password and options."""
    if not uri.host and uri.path:
        return f"{uri.scheme}:{Path(uri.path).absolute()}"
    return f"{uri.scheme}://{uri.host}{'' if uri.port is None else f':{uri.port}'}{uri.path}"


def remembered(folder: Path, uri: URI) -> dict[str, int]:
    """Return collection -> breadth of search, for the collections of one database.

    Raises:
        ConfigError: the file cannot be read.
    """
    chosen = _read(folder / FILE_NAME).get(place_of(uri), {})
    return {name: int(entry["ef"]) for name, entry in chosen.items()}


def remember(folder: Path, uri: URI, collection: str, *, ef: int | None, why: Mapping[str, object]) -> Path:
    """Keep a collection's breadth of search; None forgets it.

    Args:
        folder: where the file lies; made if missing.
        uri: of the database.
        collection: its name.
        ef: HNSW breadth or number of IVF cells.
        why: what was measured, kept beside it for people.

    Returns:
        The file.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    path = folder / FILE_NAME
    every = _read(path)
    here = every.setdefault(place_of(uri), {})
    if ef is None:
        here.pop(collection, None)
    else:
        here[collection] = {"ef": ef, **why}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(every, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc}") from exc
    return path


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(entry["ef"], int) for chosen in content.values() for entry in chosen.values()):
            return dict(content)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as exc:
        raise ConfigError(f"{path} cannot be read ({exc}): delete it, and run qvec tune --apply again") from exc
    raise ConfigError(f"{path} holds an ef that is no whole number: delete it, and run qvec tune --apply again")
