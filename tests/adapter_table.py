"""Writes the README's table of databases from what the adapters report: ``python -m tests.adapter_table``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from qvec.registry import embedded_uri, open_adapter
from qvec.types import Capabilities

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- adapters:.*?-->\n).*?(<!-- /adapters -->)", re.DOTALL)
ADDRESSES = {
    "faiss": "`faiss:folder`",
    "pgvector": "`pgvector:folder` (embedded), `postgresql://user@host/db`",
    "milvus": "`milvus:file.db` (Lite), `milvus://host:19530`",
    "elasticsearch": "`elasticsearch://user:password@host:9200`, `elasticsearch+https://...`",
    "memory": "`memory://` (for tests)",
}


def row(name: str, found: Capabilities) -> str:
    widest = f"{found.max_dim:,}" if found.max_dim else "no limit"
    text = f"{found.max_text_bytes:,} bytes" if found.max_text_bytes else "no limit"
    cells = (
        name,
        ADDRESSES[name],
        ", ".join(sorted(found.metrics)),
        ", ".join(found.index_kinds),
        widest,
        text,
        "yes" if found.lexical else "no",
        "yes" if found.persistent else "no",
    )
    return "| " + " | ".join(cells) + " |"


def capabilities(name: str, folder: str) -> Capabilities:
    """Ask an embedded database; Elasticsearch has none, and says the same on every server that it takes."""
    if name == "elasticsearch":
        from qvec_elasticsearch import schema

        return schema.capabilities("")
    adapter = open_adapter(embedded_uri(name, folder))
    found = adapter.capabilities
    adapter.close()
    return found


def table() -> str:
    lines = [
        "| backend | address | metrics | indexes | widest vector | longest text | keywords | persistent |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        lines.extend(row(name, capabilities(name, folder)) for name in ADDRESSES)
    return "\n".join(lines) + "\n"


def with_table(readme: str) -> str:
    return BLOCK.sub(lambda match: match[1] + table() + match[2], readme)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
