"""Comparing an attached table's vectors with its rows as they are now: streamed, whatever the size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qvec.embedder import Embedder
from qvec.errors import CollectionNotFoundError
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.pg_attach import AttachJob, embedder_of
from qvec.migrate.pg_backfill import page
from qvec.migrate.pg_rows import Row, Rows, run
from qvec.migrate.pg_session import attached, connected
from qvec.migrate.pg_table import PgTable
from qvec.migrate.verifying import Difference, Findings, Sample, VerifyReport
from qvec.registry import open_adapter
from qvec.types import Vector

if TYPE_CHECKING:
    import sqlalchemy as sa

_SHARE = 2**13


def verify_attached(
    url: str,
    collection: str,
    *,
    embedder: Embedder | None = None,
    told: Callable[[Difference], None] | None = None,
    progress: Callable[[CopyProgress], None] | None = None,
) -> VerifyReport:
    """Compare every row's text with the one that was embedded, the key sets, and the vectors of a sample.

    Args:
        url: of the database.
        collection: that a table is attached as.
        embedder: the model, loaded already; None loads the one of the collection.
        told: called with each difference.
        progress: called after each batch.

    Raises:
        CollectionNotFoundError: no table is attached under this name.
        QvecError: the database or the model failed.
    """
    findings = Findings(told)
    sample: Sample[Row] = Sample()
    with connected(url) as connection:
        table = attached(connection, collection)
        if table is None:
            raise CollectionNotFoundError(f"no table is attached as {collection!r}")
        rows = Rows(table, embedder_of(AttachJob(url=url, table="", collection=collection, embedder=embedder), table))
        (total,) = run(connection, f"SELECT count(*) FROM {table.source}").one()
        last: list[str] | None = None
        while found := page(connection, table, last):
            last = list(found[-1].key)
            _compare(connection, table, found, findings, sample)
            if progress:
                progress(CopyProgress(findings.report.rows, int(total)))
        if not table.in_table:
            _look_for_extra(connection, table, findings)
    _compare_vectors(url, collection, rows, sample.items, findings)
    return findings.report


def _compare(
    connection: sa.Connection, table: PgTable, rows: Sequence[Row], findings: Findings, sample: Sample[Row]
) -> None:
    values = {f"key_{at}": [row.key[at - 1] for row in rows] for at in range(1, len(table.key) + 1)}
    held: dict[tuple[str, ...], dict[str, str]] = {}
    for key, identity, digest in run(connection, table.records_by_key(), values):
        held.setdefault(tuple(key), {})[str(identity)] = str(digest)
    refused = run(connection, f"SELECT id FROM {table.errors} WHERE id = ANY(%(ids)s)", {"ids": [r.id for r in rows]})
    failed = {str(identity) for (identity,) in refused}
    connection.rollback()
    report = findings.report
    report.rows += len(rows)
    for row in rows:
        records = held.get(row.key, {})
        if not row.text.strip():
            report.failed += 1
            if records:
                findings.add("extra", row.id, "its row has no text now")
        elif not records and row.id in failed:
            report.failed += 1
        elif not records:
            report.records += 1
            findings.add("missing", row.id, "its row has no vector")
        else:
            report.records += len(records)
            fault = _fault(row, records)
            if fault:
                findings.add("changed", row.id, fault)
            else:
                sample.offer(row.id, row)


def _fault(row: Row, records: dict[str, str]) -> str:
    """Say how the records of a row differ from it: by their digests, which number the parts of a text that was cut."""
    digests = {digest.split("/")[0] for digest in records.values()}
    if digests != {row.digest}:
        return "its text is another than was embedded"
    total = max(int(digest.split("/")[2]) if "/" in digest else 1 for digest in records.values())
    return "" if len(records) == total else f"{len(records)} of its {total} parts are there"


def _look_for_extra(connection: sa.Connection, table: PgTable, findings: Findings) -> None:
    streaming = connection.execution_options(stream_results=True, max_row_buffer=_SHARE)
    for (identity,) in run(streaming, table.orphans()):
        findings.add("extra", str(identity), "its row is gone")
    connection.rollback()
    counts = (
        f"SELECT documents, (SELECT count(*) FROM {table.companion}) FROM qvec_collections WHERE number = %(number)s"
    )
    noted, there = run(connection, counts, {"number": table.number}).one()
    connection.rollback()
    if noted != there:
        findings.add("count", table.name, f"the catalogue counts {noted}, there are {there}")


def _compare_vectors(url: str, collection: str, rows: Rows, sample: Sequence[Row], findings: Findings) -> None:
    texts = {part.id: part.searchable_text for _, cut in rows.parts(sample) for part, _ in cut}
    expected: dict[str, Vector] = {}
    if texts:
        expected = dict(zip(texts, rows.embedder.encode_document(list(texts.values())), strict=True))
    adapter = open_adapter(url)
    try:
        held = adapter.get_vectors(collection, list(expected))
        findings.compare_vectors(held, expected, adapter.describe_collection(collection).metric)
    finally:
        adapter.close()
