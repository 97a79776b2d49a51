"""What the trigger that queues changes adds to a write: single rows, a transaction each, as pgbench does.

The same session writes to the same attached table in short rounds, in turns with triggers firing and not
(``session_replication_role``); each pair of rounds gives a ratio of its medians, so that what else the machine does
falls on both sides alike.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import psycopg

from benchmarks.migrate_server import fill, process_cpu, server
from benchmarks.migrate_text import pieces
from qvec.migrate import AttachJob, attach
from qvec.registry import load_embedder
from qvec.types import IndexSpec

_ROWS = 5_000
_KINDS = ("update", "insert", "delete")
_COUNT, _WARM = 12, 2
Row = dict[str, object]
Round = dict[str, tuple[float, float]]
"""Statement -> median latency, and the server's CPU time for each, in seconds."""


def trigger(options: argparse.Namespace) -> list[Row]:
    """Measure each kind of statement with the trigger and without."""
    rounds: dict[bool, list[Round]] = {False: [], True: []}
    with server() as url:
        fill(url, pieces(_ROWS))
        model = load_embedder("hashing", dim=32)
        index = IndexSpec("flat")
        attach(AttachJob(url=url, table="t", collection="bench", embedder=model, index=index, triggers=True))
        with psycopg.connect(url, autocommit=True) as db:
            for number in range(options.rounds):
                for fires in (False, True) if number % 2 else (True, False):
                    db.execute(f"SET session_replication_role = {'origin' if fires else 'replica'}")
                    rounds[fires].append(_written(db, np.random.default_rng(options.seed + number)))
            (queued,) = db.execute("SELECT count(*) FROM qvec_1_queue").fetchone() or (0,)
    assert queued == 3 * _COUNT * options.rounds
    return [_compared(kind, rounds[False], rounds[True]) for kind in _KINDS]


def _written(db: psycopg.Connection, chance: np.random.Generator) -> Round:
    (last,) = db.execute("SELECT max(id) FROM t").fetchone() or (0,)
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in _KINDS}
    for key in chance.integers(_ROWS, size=_COUNT).tolist():
        for kind, statement, values in (
            ("update", "UPDATE t SET text = %s WHERE id = %s", (f"changed {key} text", key)),
            ("insert", "INSERT INTO t VALUES (%s, 'new', %s)", (last + 1, f"inserted {key} text")),
            ("delete", "DELETE FROM t WHERE id = %s", (last + 1,)),
        ):
            cpu, started = process_cpu(db.info.backend_pid), time.perf_counter()
            db.execute(statement, values)
            times[kind].append((time.perf_counter() - started, process_cpu(db.info.backend_pid) - cpu))
    # The first after the switch are planned anew.
    medians = {kind: np.median(np.array(spent[_WARM:]), axis=0) for kind, spent in times.items()}
    return {kind: (float(median[0]), float(median[1])) for kind, median in medians.items()}


def _compared(kind: str, without: list[Round], with_it: list[Round]) -> Row:
    one, other = (np.array([found[kind] for found in rounds]) for rounds in (without, with_it))
    ratios, added = other / one, (other - one) * 1e6
    low, middle, high = np.quantile(ratios[:, 0], [0.25, 0.5, 0.75])
    return {
        "statement": kind, "pairs_of_rounds": len(ratios), "a_round": _COUNT - _WARM,
        "without_ms": float(np.median(one[:, 0])) * 1e3, "with_ms": float(np.median(other[:, 0])) * 1e3,
        "ratio": float(middle), "ratio_quartiles": [round(float(low), 3), round(float(high), 3)],
        "added_us": float(np.median(added[:, 0])), "server_cpu_added_us": float(np.median(added[:, 1])),
        "server_cpu_ratio": float(np.median(ratios[:, 1])),
        "load": os.getloadavg()[0],
    }  # fmt: skip
