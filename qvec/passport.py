"""Comparing who made a collection's vectors with who is about to ask or add."""

from __future__ import annotations

from qvec.checks import analyzer_words
from qvec.embedder import Embedder
from qvec.errors import PassportMismatchError
from qvec.lexical import LEXICAL_VERSION
from qvec.types import CollectionSpec, Passport


def passport_of(embedder: Embedder, *, chunker: str = "", analyzer: str | None = None, long_text: str = "") -> Passport:
    """Write the passport of a collection whose vectors come from `embedder`, and its words from `analyzer` or qvec."""
    return Passport(
        model_id=embedder.model_id,
        revision=embedder.revision,
        dim=embedder.dim,
        pooling=embedder.pooling,
        prompt_digest=embedder.prompt_digest,
        chunker=chunker,
        lexical_version="" if analyzer else LEXICAL_VERSION,
        long_text=long_text,
    )


def check_passport(spec: CollectionSpec, embedder: Embedder) -> None:
    """Compare a collection with the model in use.

    Raises:
        PassportMismatchError: names both sides and what to do.
    """
    asked = passport_of(embedder)
    if spec.passport is None:
        if spec.dim != asked.dim:
            raise PassportMismatchError(
                f"collection {spec.name!r} holds {spec.dim}-dim vectors and has no passport; "
                f"{_model(asked)} makes {asked.dim}-dim ones"
            )
        return
    faults = _differences(spec.passport, asked)
    if faults:
        raise PassportMismatchError(
            f"collection {spec.name!r} was indexed with {_model(spec.passport)}, dim {spec.passport.dim}; "
            f"this call uses {_model(asked)}, dim {asked.dim} ({'; '.join(faults)}). "
            f"Open it with model={spec.passport.model_id!r}, dim={spec.passport.dim}, or index into a new collection"
        )


def check_analyzer(spec: CollectionSpec, analyzer: str | None) -> None:
    """Compare a collection with the analyzer that a caller named; None takes the collection's.

    Raises:
        PassportMismatchError: names both.
    """
    if analyzer is not None and analyzer != spec.analyzer:
        raise PassportMismatchError(
            f"collection {spec.name!r} was indexed with {analyzer_words(spec.analyzer)}; this call names "
            f"{analyzer_words(analyzer)}. Leave the analyzer out, or index into a new collection"
        )


def _differences(held: Passport, asked: Passport) -> list[str]:
    same_weights = held.revision == asked.revision and (bool(held.revision) or held.model_id == asked.model_id)
    pairs = (
        ("other model", held.model_id, asked.model_id, same_weights),
        ("other dim", held.dim, asked.dim, held.dim == asked.dim),
        ("other pooling", held.pooling, asked.pooling, held.pooling == asked.pooling),
        ("other prompt template", held.prompt_digest, asked.prompt_digest, held.prompt_digest == asked.prompt_digest),
        ("other normalisation", held.normalized, asked.normalized, held.normalized == asked.normalized),
        (
            "other keyword tokens",
            held.lexical_version,
            asked.lexical_version,
            not held.lexical_version or held.lexical_version == asked.lexical_version,
        ),
    )
    return [f"{what}: {was!r} there, {now!r} here" for what, was, now, same in pairs if not same]


def _model(passport: Passport) -> str:
    return f"{passport.model_id}@{passport.revision[:12]}" if passport.revision else passport.model_id
