"""What a copy is asked to do, and what it tells."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from qvec.embedder import Embedder
from qvec.migrate.fields import FieldMap
from qvec.migrate.opening import open_source
from qvec.migrate.source import Source
from qvec.registry import DEFAULT_MODEL

OnError: TypeAlias = Literal["list", "stop"]
JOURNALS = Path(".qvec") / "migrate"


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a migration is.

    Attributes:
        read: rows that this run has read.
        total: rows that were left to read when it began; None where the source cannot tell.
        step: what is done to the rows, where they are read more than once.
    """

    read: int
    total: int | None
    step: str = ""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What a copy would do.

    Attributes:
        rows: of the source; None where it cannot tell.
        steps: in words, in order.
    """

    source: str
    rows: int | None
    collection: str
    is_new: bool
    vectors: str
    steps: list[str]


@dataclass(slots=True)
class CopyReport:
    """What a copy did, earlier runs of it included.

    Attributes:
        documents: rows that the target holds now.
        records: what they were written as; more where texts were cut.
        carried: whether the source's vectors were taken.
        long: rows that were over the model's window or the target's limit.
        long_text: what was done to these, as the target keeps it: ``"chunk"``, ``"truncate"`` or ``"pool"``.
        failed: rows that were not copied.
        errors: the first 1,000 of them, place and reason; the journal has all (`copy_errors`).
        verified: records whose text, metadata and vector were compared at the end.
        journal: the state file.
        seconds: wall time of this run.
    """

    documents: int = 0
    records: int = 0
    carried: bool = False
    long: int = 0
    long_text: str = ""
    failed: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)
    verified: int = 0
    journal: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """A copy to make.

    Attributes:
        source: a file (.jsonl, .csv, .tsv, .parquet); a SQLAlchemy URL with `table`; or the URI of one of qvec's
            databases with `source_collection`.
        target: the URI of one of qvec's databases.
        collection: the target's; made when it is not there.
        table: of a SQL source; taken literally.
        schema: of the table.
        source_collection: of a qvec source, or of the program that `layout` names.
        layout: another program's: ``"langchain"``, ``"llamaindex"`` or ``"pgai"``.
        source_model: made the vectors of such a source, or of the column `fields.vector`; they are carried when they
            prove to be its, else made anew.
        source_dim: width to which they were cut.
        fields: which columns become what.
        model: makes the vectors; None takes the target's, or carries the source's.
        dim: width of the model's vectors.
        embedder: a model that is loaded already, instead of `model` and `dim`.
        default_model: for a new collection whose source has no vectors to carry.
        default_dim: width to cut the default model's vectors to.
        journal: the state file; None: one under ``./.qvec/migrate``, named after the copy.
    """

    source: str
    target: str
    collection: str
    table: str | None = None
    schema: str | None = None
    source_collection: str | None = None
    layout: str | None = None
    source_model: str | None = None
    source_dim: int | None = None
    fields: FieldMap = field(default_factory=FieldMap)
    model: str | None = None
    dim: int | None = None
    embedder: Embedder | None = None
    default_model: str = DEFAULT_MODEL
    default_dim: int | None = None
    journal: str | Path | None = None

    @property
    def journal_path(self) -> Path:
        """Where the state file is."""
        if self.journal is not None:
            return Path(self.journal)
        named = [self.source, self.table, self.schema, self.source_collection, self.target, self.collection]
        return JOURNALS / f"{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]}.sqlite"

    def open_source(self) -> Source:
        """Open what is read.

        Raises:
            InvalidInputError: no such file, table or column.
            QvecError: as its database says.
        """
        return open_source(
            self.source,
            self.fields,
            table=self.table,
            schema=self.schema,
            collection=self.source_collection,
            layout=self.layout,
        )
