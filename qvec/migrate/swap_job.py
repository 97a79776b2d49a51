"""What a swap is asked to do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from qvec.embedder import Embedder
from qvec.migrate.copy_job import JOURNALS
from qvec.uri import URI


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapJob:
    """A collection whose model is to change.

    Attributes:
        url: of its database.
        collection: its name; of an attached table, the one that it is searched by; that of an attached index.
        model: the new one; None keeps the model, for another `dim`.
        dim: width to cut its vectors to.
        embedder: the new model, loaded already, instead of `model` and `dim`.
        least_recall: of the new index against an exact search, without which the names are not exchanged.
        journal: the state file of a collection of qvec's; None: one under ``./.qvec/migrate``, named after it.
    """

    url: str
    collection: str
    model: str | None = None
    dim: int | None = None
    embedder: Embedder | None = None
    least_recall: float = 0.9
    journal: str | Path | None = None

    @property
    def shadow(self) -> str:
        """The name of the other collection: the new vectors before the exchange, the old ones after."""
        return f"{self.collection}_swap"

    @property
    def journal_path(self) -> Path:
        """Where the state file is."""
        if self.journal is not None:
            return Path(self.journal)
        named = json.dumps([str(URI.parse(self.url)), self.collection])
        return JOURNALS / f"swap-{hashlib.sha256(named.encode()).hexdigest()[:16]}.sqlite"
