"""What a walk leaves out: .gitignore files, and what no one means to search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qvec.errors import InvalidInputError, MissingDriverError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_FOLDERS = """
    .git .hg .svn .bzr .jj node_modules bower_components __pycache__ __pypackages__ site-packages .venv venv .tox .nox
    .eggs .mypy_cache .ruff_cache .pytest_cache .hypothesis .ipynb_checkpoints .cache .gradle .idea .next .nuxt
    .svelte-kit .parcel-cache .terraform .dart_tool .bundle .stack-work .yarn .pnpm-store .direnv .qvec htmlcov
    DerivedData Pods
"""
FOLDERS = frozenset(_FOLDERS.split())
"""Folders that are never entered: tools write them, no one reads them."""

BUILT = frozenset({"build", "dist", "target", "_build"})
"""Folders that are build output, unless they are a Python package; told when left out, for the name may mislead."""

SECRETS = frozenset({".env", ".netrc", ".pypirc", ".npmrc", ".pgpass", ".htpasswd", "id_rsa", "id_ed25519", "id_ecdsa"})
SECRET_SUFFIXES = (".pem", ".key", ".p12", ".pfx", ".jks", ".keystore")

_GENERATED = """
    package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml poetry.lock pdm.lock uv.lock pipfile.lock cargo.lock
    composer.lock gemfile.lock go.sum flake.lock packages.lock.json
"""
GENERATED = frozenset(_GENERATED.split())
GENERATED_SUFFIXES = (".min.js", ".min.css", ".map", ".jsonl", ".ndjson", ".csv", ".tsv", ".log", ".ipynb", ".svg")


def folder_reason(folder: Path) -> str | None:
    """Say why a folder is left out: None when it is not, empty when that goes without saying."""
    name = folder.name
    if name in FOLDERS or name.endswith(".egg-info"):
        return ""
    if name in BUILT and not (folder / "__init__.py").exists():
        return "taken for build output by its name; index it by its own path"
    return None


def file_reason(name: str) -> str:
    """Say why a file is left out by its name; empty when it is not."""
    lower = name.lower()
    if lower in SECRETS or lower.endswith(SECRET_SUFFIXES) or lower.startswith(".env."):
        return "may hold secrets"
    if lower in GENERATED or lower.endswith(GENERATED_SUFFIXES):
        return "generated or data, by its name"
    return ""


class Ignores:
    """The patterns in force in one folder, in layers: a later one overrules an earlier one."""

    def __init__(self, layers: Sequence[tuple[Path, GitIgnoreSpec]] = ()) -> None:
        self._layers = tuple(layers)

    def entered(self, folder: Path) -> Ignores:
        """Add a folder's .gitignore; a pattern that cannot be read is passed over, as git does.

        Raises:
            MissingDriverError: pathspec is not installed.
        """
        return self._with(folder, [line for line in _lines(folder / ".gitignore") if _readable(line)])

    def excluding(self, folder: Path, patterns: Sequence[str]) -> Ignores:
        """Add patterns of the caller, relative to a folder.

        Raises:
            InvalidInputError: a pattern cannot be read.
            MissingDriverError: pathspec is not installed.
        """
        for pattern in patterns:
            if not _readable(pattern):
                raise InvalidInputError(f"{pattern!r} is not a pattern as .gitignore takes them")
        return self._with(folder, patterns)

    def covers(self, path: Path, *, folder: bool) -> bool:
        """Whether git would ignore the path, its parents not being ignored."""
        for base, spec in reversed(self._layers):
            relative = path.relative_to(base).as_posix()
            found = spec.check_file(f"{relative}/" if folder else relative).include
            if found is not None:
                return found
        return False

    def _with(self, folder: Path, patterns: Sequence[str]) -> Ignores:
        return Ignores([*self._layers, (folder, _spec(patterns))]) if patterns else self


def ignores_above(root: Path) -> Ignores:
    """Collect what the repository around a folder ignores: ``.git/info/exclude`` and each .gitignore above the folder.

    Nothing, when the repository ignores the folder itself: who names an ignored folder means to have it.
    """
    chain = [root, *root.parents]
    top = next((index for index, folder in enumerate(chain) if (folder / ".git").exists()), None)
    if top is None:
        return Ignores()
    exclude = [line for line in _lines(chain[top] / ".git" / "info" / "exclude") if _readable(line)]
    found = Ignores().excluding(chain[top], exclude)
    for index in range(top, 0, -1):
        found = found.entered(chain[index])
        if found.covers(chain[index - 1], folder=True):
            return Ignores()
    return found


def _spec(lines: Sequence[str]) -> GitIgnoreSpec:
    try:
        from pathspec import GitIgnoreSpec
    except ImportError as exc:
        raise MissingDriverError("pathspec", "code") from exc
    return GitIgnoreSpec.from_lines(lines)


def _readable(line: str) -> bool:
    try:
        _spec([line])
    except ValueError:
        return False
    return True


def _lines(path: Path) -> list[str]:
    """A pattern file's patterns; none when it is missing or cannot be read, as git does."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip() and not line.startswith("#")]
