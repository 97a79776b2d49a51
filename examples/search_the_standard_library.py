"""Index the running Python's standard library in every embedded database, and search it in two languages.

    python examples/search_the_standard_library.py [--root FOLDER] [--backend faiss --backend pgvector ...]

No server, no download, no GPU: FAISS, PostgreSQL and Milvus Lite run in or beside this process, under ./.qvec.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import qvec
from qvec.code import CHUNKER, documents_from_path
from qvec.registry import embedded_uri

QUERIES = (
    "读取CSV文件",
    "parse command line arguments",
    "计算文件的SHA256哈希",
    "retry a download when the connection drops",
)


def library(root: Path) -> Iterator[qvec.Document]:
    for item in documents_from_path(root, exclude=["test/", "tests/", "idlelib/", "site-packages/", "lib2to3/"]):
        if isinstance(item, qvec.Document):
            yield item


def show(hit: qvec.Hit, rank: int) -> None:
    where = f"{hit.metadata['path']}:{hit.metadata['start_line']}"
    legs = ", ".join(f"{leg.name} #{leg.rank}" for leg in hit.legs)
    print(f"   {rank}. {where:<42} {hit.metadata.get('symbol') or '(module)':<44} {hit.score:.4f}  {legs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--backend", action="append", choices=["faiss", "pgvector", "milvus"])
    parser.add_argument("--folder", type=Path, default=Path(".qvec"))
    options = parser.parse_args()
    for backend in options.backend or ["faiss", "pgvector", "milvus"]:
        with qvec.connect(embedded_uri(backend, options.folder)) as database:
            code = database.collection("stdlib", chunker=CHUNKER)
            started = time.perf_counter()
            report = code.index(library(options.root), prune=True)
            seconds = time.perf_counter() - started
            print(f"\n== {backend}: {database.adapter.capabilities.database}")
            print(
                f"   {report.total} pieces of code in {seconds:.1f} s ({report.added} added, {report.updated} updated, "
                f"{report.unchanged} unchanged, {len(report.failed)} failed)"
            )
            for query in QUERIES:
                started = time.perf_counter()
                hits = code.search(query, k=3)
                print(f"\n   “{query}”  {1000 * (time.perf_counter() - started):.0f} ms")
                for rank, hit in enumerate(hits, 1):
                    show(hit, rank)
            if not hits:
                sys.exit("nothing was found")


if __name__ == "__main__":
    main()
