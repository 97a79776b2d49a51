"""The checks at the edge: documents, vectors, names and numbers, before they reach a database."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from qvec.errors import CollectionExistsError, InvalidInputError, PassportMismatchError, UnsupportedError
from qvec.types import Capabilities, CollectionSpec, Document, Passport, Value, Vectors

MAX_ID_BYTES = 512
MAX_DEPTH = 32
"""How deep metadata may be nested; beyond any real use and far from what a JSON parser or a stack gives up at."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")


def check_name(name: str) -> str:
    """Return a collection's name when every database can hold it.

    Raises:
        InvalidInputError: it is not 1 to 48 ASCII letters, digits and underscores, or starts with a digit.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} cannot name a collection: take 1 to 48 ASCII letters, digits and underscores, no digit first"
        )
    return name


def check_spec(spec: CollectionSpec, capabilities: Capabilities) -> None:
    """Check that a collection can be made.

    Raises:
        InvalidInputError: its name is none that `check_name` takes, or its dim is below 1.
        UnsupportedError: its dim, metric, index kind or analyzer is beyond what the connection declares.
    """
    check_name(spec.name)
    if spec.dim < 1:
        raise InvalidInputError(f"dim={spec.dim}: starts at 1")
    if capabilities.max_dim is not None and spec.dim > capabilities.max_dim:
        raise UnsupportedError(
            f"{capabilities.database} indexes vectors to {capabilities.max_dim} dims, not {spec.dim}: "
            "cut the model's vectors with dim="
        )
    if spec.metric not in capabilities.metrics:
        known = ", ".join(sorted(capabilities.metrics))
        raise UnsupportedError(f"{capabilities.database} takes the metrics {known}, not {spec.metric}")
    if spec.index.kind not in {"auto", *capabilities.index_kinds}:
        known = ", ".join(capabilities.index_kinds)
        raise UnsupportedError(f"{capabilities.database} builds the indexes {known}, not {spec.index.kind}")
    if spec.analyzer is not None and not capabilities.analyzers:
        raise UnsupportedError(
            f"{capabilities.database} has qvec's own keyword tokens and no analyzer {spec.analyzer!r}: "
            "leave the analyzer out, or take a database that has one"
        )


def check_analyzer(analyzer: str, known: Sequence[str], database: str) -> None:
    """Check that a database has an analyzer.

    Raises:
        InvalidInputError: it has none of this name; the nearest are offered.
    """
    if analyzer not in known:
        near = difflib.get_close_matches(analyzer, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InvalidInputError(f"{database} has no analyzer {analyzer!r}: {hint}It has {', '.join(known)}")


def check_existing(known: CollectionSpec, spec: CollectionSpec, *, exist_ok: bool) -> None:
    """Check that a collection which is there already will do.

    Raises:
        CollectionExistsError: `exist_ok` is false, or it has another dim, metric or analyzer.
    """
    if not exist_ok:
        raise CollectionExistsError(f"the collection {spec.name!r} exists; drop it first")
    if (known.dim, known.metric) != (spec.dim, spec.metric):
        raise CollectionExistsError(
            f"the collection {spec.name!r} exists with dim {known.dim} and metric {known.metric}; "
            f"asked for dim {spec.dim} and metric {spec.metric}"
        )
    if known.analyzer != spec.analyzer:
        raise CollectionExistsError(
            f"the collection {spec.name!r} exists with {analyzer_words(known.analyzer)}; "
            f"asked for {analyzer_words(spec.analyzer)}"
        )


def check_held(spec: CollectionSpec, passport: Passport | None) -> None:
    """Check that a collection is one that vectors were made for; look at `spec` where no exchange can follow.

    Args:
        spec: the collection's.
        passport: what `Adapter.upsert` was given; None takes any collection.

    Raises:
        PassportMismatchError: the collection has another passport.
    """
    if passport is not None and spec.passport != passport:
        raise exchanged(spec.name, passport, spec.passport)


def exchanged(name: str, passport: Passport, held: Passport | None) -> PassportMismatchError:
    """Make the error for a write that found another collection under the name.

    Args:
        name: the collection.
        passport: that the vectors were made for.
        held: that the name leads to now.
    """
    now = f"has those of {held.model_id}, dim {held.dim}" if held else "does not say whose it has"
    if held == passport:
        now = "was another for a moment"
    return PassportMismatchError(
        f"these are vectors of {passport.model_id}, dim {passport.dim}, and collection {name!r} {now}: collections "
        "have traded names. Nothing was written into the other; run again, with the model that the collection has then"
    )


def analyzer_words(analyzer: str | None) -> str:
    """Say how a collection cuts its texts into words."""
    return "qvec's own keyword tokens" if analyzer is None else f"the analyzer {analyzer!r}"


def check_batch(documents: Sequence[Document], vectors: Vectors, dim: int) -> Vectors:
    """Return the vectors as a contiguous float32 ``(n, dim)`` array, once the batch can be written.

    Raises:
        InvalidInputError: duplicate ids, a document that `document_fault` refuses, a wrong shape, NaN or infinity.
    """
    seen: set[str] = set()
    for document in documents:
        fault = document_fault(document)
        if fault:
            raise InvalidInputError(f"document {document.id!r}: {fault}")
        if document.id in seen:
            raise InvalidInputError(f"document {document.id!r} occurs twice in one call; ids must differ")
        seen.add(document.id)
    checked = check_vectors(vectors, dim)
    if len(checked) != len(documents):
        raise InvalidInputError(f"{len(documents)} documents came with {len(checked)} vectors")
    return checked


def check_vectors(vectors: Vectors, dim: int) -> Vectors:
    """Return vectors as a contiguous float32 array of shape ``(n, dim)``.

    Raises:
        InvalidInputError: another shape, NaN or infinity.
    """
    try:
        if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32:
            array = np.ascontiguousarray(vectors)
        else:
            with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused below
                array = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise InvalidInputError(f"vectors must be an array of numbers of shape (n, {dim}): {exc}") from exc
    check_shape(array, dim)
    # Its square tells of NaN and infinity in one pass; of finite numbers, those over 1e19 overflow it as well.
    if not math.isfinite(np.vdot(array, array)) and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InvalidInputError(f"vector {row} holds NaN or infinity")
    return array


def check_shape(vectors: Vectors, dim: int) -> None:
    """Check that vectors fit a collection, without looking at their numbers.

    Raises:
        InvalidInputError: they are not of shape ``(n, dim)``.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise InvalidInputError(f"vectors of shape {vectors.shape} given; the collection takes (n, {dim})")


def check_k(k: int, offset: int = 0) -> None:
    """Check a search's window.

    Raises:
        InvalidInputError: `k` below 1 or `offset` below 0.
    """
    if k < 1 or offset < 0:
        raise InvalidInputError(f"k={k}, offset={offset}: k starts at 1, offset at 0")


def document_fault(document: Document) -> str:
    """Say why no database could hold the document; empty when all can."""
    if not isinstance(document.id, str) or not document.id:
        return "its id is not a string of at least one character"
    for label in ("id", "source", "digest", "text"):
        value = getattr(document, label)
        if not isinstance(value, str):
            return f"its {label} is {type(value).__name__}, not a string"
        fault = string_fault(value)
        if fault:
            return f"its {label} {fault}"
        if label in {"id", "source"} and len(value.encode()) > MAX_ID_BYTES:
            return f"its {label} has more than {MAX_ID_BYTES} bytes"
    if not isinstance(document.metadata, Mapping):
        return f"its metadata is {type(document.metadata).__name__}, not a dict"
    return _value_fault("metadata", document.metadata, MAX_DEPTH)


def string_fault(text: str) -> str:
    """Say why a string cannot be stored as UTF-8 everywhere; empty when it can."""
    if "\0" in text:
        return "holds NUL (U+0000), which PostgreSQL cannot store; take it out"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            return f"holds a lone surrogate at character {exc.start}; decode the source with errors='replace'"
    return ""


def _value_fault(where: str, value: Value, depth: int) -> str:
    if isinstance(value, str):
        fault = string_fault(value)
        return f"{where} {fault}" if fault else ""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**63 else f"{where} holds an integer beyond 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{where} holds {value}; JSON has finite numbers only"
    if depth == 0:
        return f"metadata is nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, Mapping):
        for key, item in value.items():
            if _is_plain(key, item):
                continue
            fault = _key_fault(where, key) or _value_fault(f"{where}[{key!r}]", item, depth - 1)
            if fault:
                return fault
        return ""
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return next((fault for item in value if (fault := _value_fault(where, item, depth - 1))), "")
    return f"{where} holds {type(value).__name__}; take strings, numbers, booleans, lists and dicts"


def _is_plain(key: object, item: object) -> bool:
    """Tell at a glance of what most metadata is; only for the rest is its place put in words."""
    if key.__class__ is not str or not key or not key.isascii() or "\0" in key:
        return False
    if item.__class__ is str:
        return item.isascii() and "\0" not in item
    return item is None or item.__class__ is bool or (item.__class__ is int and -(2**63) <= item < 2**63)


def _key_fault(where: str, key: object) -> str:
    if not isinstance(key, str) or not key:
        return f"{where} has the key {key!r}; keys are strings of at least one character"
    fault = string_fault(key)
    return f"a key of {where} {fault}" if fault else ""
