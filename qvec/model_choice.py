"""Which model a collection is opened with."""

from __future__ import annotations

from dataclasses import dataclass

from qvec.embedder import Embedder
from qvec.errors import InvalidInputError
from qvec.registry import DEFAULT_MODEL, load_embedder, takes_device
from qvec.types import Passport


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What is known of the model before it is loaded.

    Attributes:
        model: its name, as asked for; None takes the collection's own, else `default_model`.
        dim: width to cut its vectors to, as asked for; None takes the collection's own, else `default_dim`.
        embedder: a model that is loaded already, instead of all else.
        default_model: for a collection without a passport.
        default_dim: of the default model.
        device: where it computes, as asked for.
        default_device: where it computes, if it is of a kind that has the choice.
    """

    model: str | None = None
    dim: int | None = None
    embedder: Embedder | None = None
    default_model: str | None = None
    default_dim: int | None = None
    device: str | None = None
    default_device: str | None = None

    @property
    def is_the_collections(self) -> bool:
        """Whether nothing was asked for: whatever the collection says is right."""
        return self.model is None and self.dim is None and self.embedder is None

    def load(self, passport: Passport | None) -> Embedder:
        """Return the model, loaded now unless it was given.

        Args:
            passport: the collection's; None where it has none yet.

        Raises:
            ConfigError: no package provides the model, or it takes no device and one was asked for.
            EmbeddingError: the model cannot be loaded.
        """
        if self.embedder is not None:
            return self.embedder
        if passport is None:
            model, dim = self.default_model or DEFAULT_MODEL, self.default_dim
        else:
            model, dim = passport.model_id, passport.dim
        name = self.model or model
        configured = self.default_device if self.default_device and takes_device(name) else None
        return load_embedder(name, dim=dim if self.dim is None else self.dim, device=self.device or configured)

    def check_named(self, collection: str) -> None:
        """Refuse to guess a model: the vectors of a collection of another program do not say whose they are.

        Raises:
            InvalidInputError: none was named.
        """
        if self.embedder is None and not (self.model or self.default_model):
            raise InvalidInputError(
                f"the vectors of {collection!r} were made by another program: name their model with model=, and dim="
            )
