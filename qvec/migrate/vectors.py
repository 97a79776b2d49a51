"""Whether vectors can be carried from one collection to another, or have to be made."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qvec.embedder import Embedder
from qvec.errors import ConfigError
from qvec.passport import check_passport, passport_of
from qvec.registry import DEFAULT_MODEL, load_embedder
from qvec.types import Capabilities, CollectionSpec, Passport


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of the vectors.

    Attributes:
        spec: the target's, as it is or is to be made.
        embedder: makes the vectors; None: they are carried.
    """

    spec: CollectionSpec
    embedder: Embedder | None

    @property
    def said(self) -> str:
        """The choice in words."""
        if self.embedder is None:
            model = self.spec.passport.model_id if self.spec.passport else "an unknown model"
            return f"carry the vectors of {model}, {self.spec.dim} dimensions"
        return f"embed with {self.embedder.model_id}, {self.embedder.dim} dimensions"

    def spec_for(self, capabilities: Capabilities) -> CollectionSpec:
        """Shape the target for its database: one without analyzers makes the words anew by qvec's own rules."""
        return self.spec if capabilities.analyzers else replace(self.spec, analyzer=None)


def choose(
    name: str,
    source: CollectionSpec | None,
    target: CollectionSpec | None,
    *,
    model: str | None = None,
    dim: int | None = None,
    embedder: Embedder | None = None,
    default_model: str = DEFAULT_MODEL,
    default_dim: int | None = None,
) -> Choice:
    """Carry vectors where the passports of both sides agree, else embed with the model asked for or the target's.

    Args:
        name: of the target.
        source: the source's spec; None where it has no vectors.
        target: the target's spec; None where it is not there yet.
        model: asked for; None takes the target's, the source's, else `default_model`.
        dim: asked for.
        embedder: a model that is loaded already, instead of `model` and `dim`.
        default_model: where neither side says.
        default_dim: of the default model.

    Raises:
        PassportMismatchError: the target's vectors come from another model than the one asked for.
        ConfigError: the target has no passport, and no model is named.
        EmbeddingError: the model cannot be loaded.
    """
    if embedder is None and (model is not None or dim is not None):
        known = (target and target.passport) or (source and source.passport)
        embedder = load_embedder(model or (known.model_id if known else default_model), dim=dim)
    if target is not None:
        if embedder is not None:
            check_passport(target, embedder)
        if source is not None and _agree(source, target):
            return Choice(target, None)
        return Choice(target, embedder or _model_of(target))
    if source is not None:
        same = embedder is None or _same_model(source.passport, passport_of(embedder))
        if same:
            return Choice(replace(source, name=name), None)
    made = embedder or load_embedder(default_model, dim=default_dim)
    return Choice(CollectionSpec(name, made.dim, passport=passport_of(made)), made)


def _agree(source: CollectionSpec, target: CollectionSpec) -> bool:
    if source.dim != target.dim:
        return False
    if source.passport is None or target.passport is None:
        return source.passport is target.passport
    return _same_model(source.passport, target.passport)


def _same_model(one: Passport | None, other: Passport) -> bool:
    """Compare all that shapes a vector; keyword tokens are made anew by each database."""
    if one is None:
        return False
    names = {"chunker": "", "lexical_version": "", **({"model_id": ""} if one.revision else {})}
    if not (one.long_text and other.long_text):
        names["long_text"] = ""
    return replace(one, **names) == replace(other, **names)  # type: ignore[arg-type]


def _model_of(target: CollectionSpec) -> Embedder:
    if target.passport is None:
        raise ConfigError(f"the collection {target.name!r} does not say whose vectors it holds: name the model")
    found = load_embedder(target.passport.model_id, dim=target.passport.dim)
    check_passport(target, found)
    return found
