"""Another model for an attached index: a second form is filled beside the one that is searched, as an attach fills."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from qvec.adapter import Adapter
from qvec.attaching import AttachForm, AttachSwap, SupportsAttachSwap
from qvec.embedder import Embedder
from qvec.errors import CollectionNotFoundError, UnsupportedError
from qvec.foreign import ForeignAdapter, SupportsLayout
from qvec.layouts import to_layout
from qvec.migrate.errors import MigrationError
from qvec.migrate.holding import Hold, held
from qvec.migrate.index_attach import Filling, digest_of, fill, need_form, new_form
from qvec.migrate.pg_backfill import AttachReport
from qvec.migrate.swap_job import SwapJob
from qvec.migrate.swap_side import Side, Told, asked_embedder
from qvec.registry import load_embedder
from qvec.types import Passport

_BATCH = 256


def open_index(job: SwapJob, adapter: Adapter, stack: ExitStack) -> Side | None:
    """Open an attached index; None when the collection is none. What is held is let go of with the stack.

    Raises:
        UnsupportedError: the database keeps no second form.
    """
    if not (isinstance(adapter, SupportsAttachSwap) and isinstance(adapter, SupportsLayout)):
        return None
    try:
        form = adapter.attached_form(job.collection)
    except (CollectionNotFoundError, UnsupportedError):
        return None
    if form is None:
        return None
    return _Index(job, adapter, adapter.with_layout(to_layout(form.layout)), stack)


class _Index(Side):
    """An attached index; what was brought over is told by the digests beside the vectors."""

    def __init__(self, job: SwapJob, attaching: SupportsAttachSwap, searched: ForeignAdapter, stack: ExitStack) -> None:
        self.adapter = searched
        self.collection = job.collection
        self._job = job
        self._attaching = attaching
        self._stack = stack
        self._hold: Hold | None = None
        self._loaded: dict[Passport, Embedder] = {}

    def is_switched(self) -> bool:
        found = self._beside()
        return found is not None and found.state == "switched"

    def was_switched_back(self) -> bool:
        found = self._beside()
        return found is not None and found.state == "back"

    def has_shadow(self) -> bool:
        return self._beside() is not None

    def prepare(self, progress: Told) -> int:
        form, _ = self._wanted()
        self._held()
        beside = self._beside()
        if beside is not None and beside.state == "switched":
            raise MigrationError(f"another swap of {self.collection!r} has just come to its end")
        if beside is None or beside.state == "filling":
            self._attaching.begin_swap(self.collection, form)
        return self.follow(into_shadow=True, progress=progress)

    def preparation(self) -> list[str]:
        form, embedder = self._wanted()
        count = self._attaching.attach_count(self.collection)
        return [
            *self._attaching.begin_swap_steps(self.collection, form),
            f"embed {'the' if count is None else f'{count:,}'} documents of {self.collection} with {embedder.model_id}",
        ]

    def follow(self, *, into_shadow: bool, progress: Told) -> int:
        hold = self._held()
        form = self._need_beside().form if into_shadow else need_form(self._attaching, self.collection)
        report = AttachReport()
        fill(Filling(self._attaching, self.collection, form, self._model_of(form), report), hold, progress)
        if into_shadow and report.errors:
            self._check_lost(report.errors)
        return report.embedded

    def measured(self) -> tuple[Adapter, str]:
        assert isinstance(self._attaching, SupportsLayout)
        # With a passport, the layout would follow what is searched.
        beside = self._need_beside()
        layout = replace(beside.form.layout, passport=None, table=beside.table)
        return self._attaching.with_layout(to_layout(layout)), self.collection

    def exchange(self) -> None:
        self._held().check()
        self._attaching.exchange_forms(self.collection)

    def exchange_steps(self) -> list[str]:
        return self._attaching.exchange_forms_steps(self.collection)

    def dropping(self) -> list[str]:
        self._need_beside()
        return self._attaching.end_swap_steps(self.collection)

    def drop_shadow(self) -> None:
        self._held().check()
        if not self._need_beside().is_settled:
            self.follow(into_shadow=False, progress=None)
        self._attaching.end_swap(self.collection)

    def _held(self) -> Hold:
        """Keep others away from the first write on: a dry run keeps nobody."""
        if self._hold is None:
            self._hold = self._stack.enter_context(held(self._attaching, self.collection))
        return self._hold

    def _beside(self) -> AttachSwap | None:
        return self._attaching.attach_swap(self.collection)

    def _need_beside(self) -> AttachSwap:
        found = self._beside()
        if found is None:
            raise MigrationError(f"no swap of {self.collection!r} is open")
        return found

    def _wanted(self) -> tuple[AttachForm, Embedder]:
        live, beside = need_form(self._attaching, self.collection), self._beside()
        embedder = asked_embedder(self._job, live.passport)
        form = replace(new_form(embedder, live.text), id=live.id)
        if form.passport == live.passport:
            raise MigrationError(f"{self.collection!r} has the vectors of {embedder.model_id} already")
        if beside is not None and beside.form.passport != form.passport:
            raise MigrationError(f"a swap of {self.collection!r} to another model is open: end it first")
        self._loaded[form.passport] = embedder
        return form, embedder

    def _model_of(self, form: AttachForm) -> Embedder:
        if form.passport not in self._loaded:
            given = self._job.embedder
            if given is None or new_form(given, form.text).passport != form.passport:
                given = load_embedder(form.passport.model_id, dim=form.passport.dim)
            self._loaded[form.passport] = given
        return self._loaded[form.passport]

    def _check_lost(self, errors: list[tuple[str, str]]) -> None:
        """Refuse what has a vector now and would have none."""
        live, why = need_form(self._attaching, self.collection), dict(errors)
        for rows in self._attaching.attach_rows(self.collection, live, size=_BATCH, ids=list(why)):
            for row in rows:
                if row.digest == digest_of(row.text):
                    raise MigrationError(
                        f"document {row.id!r} of {self.collection!r} would lose its vector: {why[row.id]}"
                    )
