"""Measure `qvec.migrate` on PostgreSQL: ``python -m benchmarks.migrate rate|memory|trigger|all``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psycopg

from benchmarks.embed.shapes import write_model
from benchmarks.migrate_server import cpu_seconds, fill, server
from benchmarks.migrate_text import pieces
from benchmarks.migrate_trigger import trigger
from benchmarks.report import table, write
from qvec.embedder import Embedder
from qvec.migrate import AttachJob, attach
from qvec.registry import load_embedder
from qvec.types import IndexSpec, Vectors

BATCH = 256
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["rate", "memory", "trigger", "all"], nargs="?", default="all")
    parser.add_argument("--rows", type=int, default=100_000, help="of the table whose backfill is measured")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--model-rows", type=int, default=100_000, help="of these, that the model embeds")
    parser.add_argument("--transformer-rows", type=int, default=1_000, help="that a transformer embeds; 0: none")
    parser.add_argument("--loop-rows", type=int, default=2_000, help="rows that the plain loop embeds")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="for memory")
    parser.add_argument("--waits", type=float, nargs="*", default=[1.0, 5.0], help="ms a text of models that only wait")
    parser.add_argument("--wait-seconds", type=float, default=100.0, help="that such a model waits in all, at most")
    parser.add_argument("--rounds", type=int, default=300, help="of writing, each with and without the trigger")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("URL", "ROWS"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    if options.one:
        print(peak_of_one(options.one[0]))
        return
    for name, measure in (("rate", rate), ("memory", memory), ("trigger", trigger)):
        if options.what in (name, "all"):
            rows = measure(options)
            path = write(f"migrate-{name}", rows, seed=options.seed, out=options.out)
            columns = list(dict.fromkeys(key for row in rows for key in row))
            print(f"\n## {name}\n\n{table(rows, columns)}\n\nwritten to {path}")


def rate(options: argparse.Namespace) -> list[Row]:
    """Backfill real text, embed the same text without a database, and by the loop that most people write.

    By a model that costs little; by models that only wait, as one behind a network or on a GPU does; and by a
    transformer of random weights: its speed is that of a small real one.
    """
    found = []
    for wait in options.waits:
        rows = _every(options.rows, int(options.wait_seconds * 1000 / wait))
        model = Waiting(wait / 1000)
        found.append(_rate(f"waits {wait:g} ms a text", model, iter(rows), min(options.loop_rows, len(rows) // 10)))
    if options.model:
        rows = _every(options.rows, options.model_rows)
        found.append(_rate(options.model, load_embedder(options.model), iter(rows), options.loop_rows))
    if options.transformer_rows:
        with tempfile.TemporaryDirectory() as folder:
            place = write_model(Path(folder), "small", device="cpu", dtype="float32", seed=options.seed)
            transformer = load_embedder(str(place))
            loop_rows = min(options.loop_rows, options.transformer_rows // 4)
            texts = pieces(options.transformer_rows, only_library=True)
            found.append(_rate("qwen3, 3 layers of 256", transformer, texts, loop_rows))
    return found


def _every(rows: int, most: int) -> list[tuple[str, str]]:
    """Take as many of the real rows as there may be, spread over all of them."""
    found = list(pieces(rows))
    return found[:: -(-len(found) // most)]


def _rate(name: str, embedder: Embedder, rows: Iterator[tuple[object, ...]], loop_rows: int) -> Row:
    with server() as url:
        count = fill(url, rows)
        with psycopg.connect(url) as db:
            texts = [text for (text,) in db.execute("SELECT text FROM t ORDER BY id")]
        sample = texts[:: max(1, count // 5_000)]
        cpu = time.process_time()
        own = [_own_rate(embedder, sample)]
        own_cpu = (time.process_time() - cpu) / (len(sample) + len(sample[:BATCH]))
        cpu, server_cpu = time.process_time(), cpu_seconds(url)
        spent, indexed = attach_all(url, embedder)
        cpu, server_cpu = time.process_time() - cpu, cpu_seconds(url) - server_cpu
        own.append(_own_rate(embedder, sample))
        loop = _loop_rate(url, embedder, loop_rows)
    alone = float(np.mean(own))
    backfill = count / spent
    return {
        "model": name, "dim": embedder.dim, "rows": count, "mean_characters": float(np.mean([*map(len, texts)])),
        "embedder_rows_s": alone, "backfill_rows_s": backfill, "backfill_of_embedder": backfill / alone,
        "loop_rows_s": loop, "backfill_is_times_loop": backfill / loop, "index_s": indexed,
        "cpu_us_row": (cpu / count - own_cpu) * 1e6, "server_cpu_us_row": server_cpu / count * 1e6,
        "embedder_cpu_us_row": own_cpu * 1e6, "load": os.getloadavg()[0],
    }  # fmt: skip


def _own_rate(embedder: Embedder, texts: Sequence[str]) -> float:
    embedder.encode_document(texts[:BATCH])
    started = time.perf_counter()
    for first in range(0, len(texts), BATCH):
        embedder.encode_document(texts[first : first + BATCH])
    return len(texts) / (time.perf_counter() - started)


def attach_all(url: str, embedder: Embedder, *, triggers: bool = False) -> tuple[float, float]:
    """Return the seconds of the backfill and of the index on the tokens; an HNSW index would be the same either way."""
    started = time.perf_counter()
    ends = [started]
    job = AttachJob(
        url=url, table="t", collection="bench", embedder=embedder, index=IndexSpec("flat"), triggers=triggers
    )
    attach(job, progress=lambda state: None if state.step else ends.append(time.perf_counter()))
    return ends[-1] - started, time.perf_counter() - ends[-1]


def _loop_rate(url: str, embedder: Embedder, count: int) -> float:
    """Read a row, embed it, write it, commit; next row."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"ALTER TABLE t ADD COLUMN IF NOT EXISTS embedding vector({embedder.dim})")
        ids = [key for (key,) in db.execute("SELECT id FROM t ORDER BY id LIMIT %s", (count,))]
        started = time.perf_counter()
        for key in ids:
            (text,) = db.execute("SELECT text FROM t WHERE id = %s", (key,)).fetchone() or ("",)
            vector = embedder.encode_document([text])[0]
            db.execute("UPDATE t SET embedding = %s WHERE id = %s", (str(vector.tolist()), key))
        return len(ids) / (time.perf_counter() - started)


class Precomputed:
    """Vectors that are there already: chosen by the text's checksum from a few drawn beforehand."""

    model_id, revision, dim, max_tokens, pooling, prompt_digest = "precomputed", "1", 32, 1 << 20, "none", ""

    def __init__(self) -> None:
        self._drawn = np.random.default_rng(0).standard_normal((4096, self.dim)).astype(np.float32)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        return self._drawn[[zlib.crc32(text.encode()) % 4096 for text in texts]]

    def encode_query(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        return self.encode_document(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]


class Waiting(Precomputed):
    """Waits as a model on a GPU or behind a network lets its caller wait, and takes no CPU; as wide as Qwen3's 0.6B."""

    model_id, dim = "waiting", 1024

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        time.sleep(self._seconds * len(texts))
        return super().encode_document(texts)


def memory(options: argparse.Namespace) -> list[Row]:
    """Attach tables of several sizes with vectors that cost nothing, each in a process of its own; its peak is read."""
    rows: list[Row] = []
    for size in options.sizes:
        with server() as url:
            fill(url, ((f"p{number % 100}", f"row {number} about topic {number % 97}") for number in range(size)))
            command = [sys.executable, "-m", "benchmarks.migrate", "--one", url, str(size)]
            started = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            spent = time.perf_counter() - started
        peak = float(done.stdout)
        rows.append({"rows": size, "dim": Precomputed.dim, "peak_mib": peak, "rows_s": size / spent})
        rows[-1]["of_smallest"] = peak / float(str(rows[0]["peak_mib"]))
    return rows


def peak_of_one(url: str) -> float:
    """Attach; return this process' largest resident set in MiB."""
    import resource

    attach_all(url, Precomputed())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
