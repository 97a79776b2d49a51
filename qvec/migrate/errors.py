"""What can go wrong in a migration beyond a failing database or model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qvec.errors import QvecError

_SHOWN = 5


class MigrationError(QvecError):
    """Report a source, target or earlier run with which this migration cannot go on."""


class VerificationError(MigrationError):
    """Report a target that does not hold what was written to it.

    Attributes:
        missing: ids of records that are not there.
        different: id -> what differs from what was written.
        extra: ids of records that the copy did not write, in a collection that it made.
    """

    def __init__(
        self, where: str, *, missing: Sequence[str], different: Mapping[str, str], extra: Sequence[str]
    ) -> None:
        parts = []
        if missing:
            parts.append(f"{len(missing)} record(s) are missing: {', '.join(map(repr, missing[:_SHOWN]))}")
        if different:
            shown = [f"{identity!r} ({what})" for identity, what in list(different.items())[:_SHOWN]]
            parts.append(f"{len(different)} record(s) differ: {', '.join(shown)}")
        if extra:
            parts.append(f"{len(extra)} record(s) are not the copy's: {', '.join(map(repr, extra[:_SHOWN]))}")
        super().__init__(f"{where} is not what was copied: {'; '.join(parts)}. Run the copy again with restart=True")
        self.missing = list(missing)
        self.different = dict(different)
        self.extra = list(extra)
