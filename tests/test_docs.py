"""What the docs say is so: the README's code runs, its table is what the adapters report, the examples work."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import adapter_table
from tests.conftest import required

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
FRAMEWORKS = {"langchain": "langchain_core", "llamaindex": "llama_index", "haystack": "haystack", "mteb": "mteb"}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readmes_python_runs_as_written(tmp_path: Path) -> None:
    blocks = [block for block in BLOCKS if "qvec.integrations" not in block]
    assert len(blocks) >= 2
    out = run([sys.executable, "-c", "\n".join(blocks)], tmp_path)
    assert "2 {}" in out
    assert "巴黎" in out


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_readmes_code_for_a_framework_runs_as_written(framework: str, tmp_path: Path) -> None:
    if not required("all"):
        pytest.importorskip("faiss")
        if importlib.util.find_spec(FRAMEWORKS[framework]) is None:
            pytest.skip(f"{framework} is not installed")
    [block] = [block for block in BLOCKS if f"qvec.integrations.{framework} " in block]
    out = run([sys.executable, "-c", block], tmp_path)
    assert "1.0\n1.0" in out if framework == "mteb" else "read a csv file" in out


def test_the_readmes_table_of_databases_is_what_the_adapters_report() -> None:
    if not required("all"):
        pytest.importorskip("pymilvus")
        pytest.importorskip("psycopg")
        pytest.importorskip("faiss")
        pytest.importorskip("elasticsearch")
    assert adapter_table.with_table(README) == README, "run: python -m tests.adapter_table"


def test_every_make_target_of_the_readme_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "adapters" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_written(example: Path, tmp_path: Path) -> None:
    small = ["--root", str(Path(json.__file__).parent)] if "library" in example.stem else []
    out = run([sys.executable, str(example), *small], tmp_path)
    assert out.strip()
