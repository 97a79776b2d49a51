"""What a file says of itself at its top, which each of its pieces is about."""

from __future__ import annotations

import re

_LONGEST = 200
_PYTHON = re.compile(r"""\A(?:[^\S\n]*(?:\#[^\n]*)?\n)*[rRuU]?(\"{3}|'{3}|"|')(.*?)(?:\1|\Z)""", re.DOTALL)
_RUST = re.compile(r"^//!(.*)$", re.MULTILINE)
_GO = re.compile(r"^(?://|/\*|)\s*(Package\s+\w+\s.*?)(?=\*/|\n\s*(?://)?\s*\n|\npackage\s)", re.MULTILINE | re.DOTALL)


def summary_of(text: str, language: str) -> str:
    """Return the first paragraph of a module's description, cut at 200 characters; empty where there is none.

    Read are Python's docstring, Go's package comment and Rust's ``//!``: elsewhere the top of a file holds its licence.

    Args:
        text: the file, or its first lines.
        language: as in `Chunk`.
    """
    if language == "python":
        found = _PYTHON.match(text)
        said = found[2] if found else ""
    elif language == "rust":
        said = "\n".join(line.strip() for line in _RUST.findall(text))
    elif language == "go":
        found = _GO.search(text)
        said = found[1].replace("//", " ") if found else ""
    else:
        return ""
    paragraph = " ".join(re.split(r"\n\s*\n", said.strip(), maxsplit=1)[0].split())
    return paragraph if len(paragraph) <= _LONGEST else paragraph[:_LONGEST].rpartition(" ")[0]
