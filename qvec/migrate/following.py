"""Making one collection hold what another does, with another model's vectors, while both may be written to.

A pass reads all records of the first and gives the second those whose digest is not the journal's. Nothing is asked of
the writers: who writes by the collection's name need not know of the shadow, have its model, or be able to run it.
After the names were exchanged, one more kind of pass brings over what was written in the last moment; it leaves alone
what has been written by the new name since, for that is newer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qvec.adapter import Adapter
from qvec.documents import content_digest
from qvec.embedder import Embedder
from qvec.errors import TextTooLongError
from qvec.long_text import LongTextRule, Prepared, encode, settle_policy
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.errors import MigrationError
from qvec.migrate.swap_journal import SwapJournal
from qvec.types import Document, Passport, Vectors

_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Brings records from one collection to another.

    Attributes:
        adapter: holds both.
        journal: of the swap.
        source: the collection that is read.
        target: the one that is written.
        embedder: makes the target's vectors.
        passport: of the target.
        spares_newer: leave alone what is not in the target as it was brought there.
    """

    adapter: Adapter
    journal: SwapJournal
    source: str
    target: str
    embedder: Embedder
    passport: Passport | None
    spares_newer: bool

    def run(self, progress: Callable[[CopyProgress], None] | None = None) -> int:
        """Make one pass; return how many records it brought or took away.

        Raises:
            MigrationError: a record is too long for the model.
            PassportMismatchError: the target is another collection by now.
            QvecError: the database or the model failed; another pass goes on from there.
        """
        self.adapter.refresh(self.source)
        self.journal.begin_round()
        total = self.adapter.count(self.source)
        read = changed = 0
        for batch in self.adapter.scan(self.source, batch_size=_BATCH):
            changed += self._bring(batch.documents)
            read += len(batch.documents)
            if progress:
                progress(CopyProgress(read, total))
        changed += self._take_away()
        self.adapter.refresh(self.target)
        return changed

    def _bring(self, documents: Sequence[Document]) -> int:
        digests = {document.id: _digest(document) for document in documents}
        known = self.journal.known(list(digests))
        changed = [document for document in documents if known.get(document.id) != digests[document.id]]
        if changed:
            vectors = self._embed(changed)
            kept = [at for at, document in enumerate(changed) if self._may_write(document.id, known)]
            size = max(1, self.adapter.capabilities.write_batch)
            for start in range(0, len(kept), size):
                some = kept[start : start + size]
                chosen = [changed[at] for at in some]
                self.adapter.upsert(self.target, chosen, vectors[some], passport=self.passport)
        self.journal.follow(digests)
        return len(changed)

    def _embed(self, documents: Sequence[Document]) -> Vectors:
        """Embed records, long ones as the collection does; parts stay as they were cut, for they have ids by now."""
        made: dict[str, Prepared] = {}
        policy = settle_policy(self.passport.long_text or None if self.passport else None, None)
        if policy in ("truncate", "pool"):
            # The database holds these texts already, so they are within its limit.
            rule = LongTextRule(self.embedder, policy, max_text_bytes=None)
            prepared = {document.id: rule.prepare(document) for document in documents}
            made = {identity: found for identity, found in prepared.items() if found.pieces}
        try:
            return encode(self.embedder, documents, made)
        except TextTooLongError as exc:
            longest = max(documents, key=lambda document: len(document.searchable_text))
            raise MigrationError(
                f"the records of {self.source} were cut for a model with a wider window, as {longest.id!r} was: "
                "index the documents into a new collection instead"
            ) from exc

    def _take_away(self) -> int:
        """Delete what the source no longer has; a record that was replaced during a pass may have escaped it."""
        count = 0
        for digests in self.journal.not_met():
            there = {document.id for document in self.adapter.get(self.source, list(digests))}
            gone = [identity for identity in digests if identity not in there]
            self.adapter.delete(self.target, [identity for identity in gone if self._may_write(identity, digests)])
            self.journal.forget(gone)
            count += len(gone)
        return count

    def _may_write(self, identity: str, known: dict[str, str]) -> bool:
        if not self.spares_newer:
            return True
        held = [_digest(document) for document in self.adapter.get(self.target, [identity])]
        return held == ([known[identity]] if identity in known else [])


def _digest(document: Document) -> str:
    return f"{content_digest(document)} {document.digest}"
