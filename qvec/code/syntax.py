"""Marking a program's definitions and statements with its tree-sitter grammar."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from qvec.code.languages import (
    BINDINGS,
    DATA,
    FUNCTION_VALUES,
    KINDS,
    TRANSPARENT,
    UNNAMED,
    WRAPPERS,
    Kind,
)
from qvec.code.outline import Mark
from qvec.errors import MissingDriverError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tree_sitter import Language, Node

# Beyond this the tree is an expression chained thousands of times, and Python's own stack is the limit.
_MAX_DEPTH = 60
_MAX_NAME = 160
# A comment belongs to what follows it, one blank line between them or none.
_NEAR = 2
_ATTACHED = frozenset({"attribute_item", "decorator", "attribute_list", "annotation", "marker_annotation"})
_IDENTIFIERS = ("type_identifier", "simple_identifier", "identifier", "constant")


class _Definition(NamedTuple):
    name: str
    kind: Kind
    node: Node


def outline_syntax(lines: Sequence[str], language: str, *, max_chars: int) -> list[Mark]:
    """Mark definitions, and the statements of those that are longer than `max_chars`.

    Args:
        lines: with their line ends; a line ends at ``\\n`` only, as the grammars count.
        language: one that the grammars know.
        max_chars: a definition up to this length stays whole.

    Raises:
        MissingDriverError: tree-sitter or its grammars are not installed.
    """
    try:
        from tree_sitter import Parser
    except ImportError as exc:
        raise MissingDriverError("tree-sitter", "code") from exc
    tree = Parser(_grammar(language)).parse("".join(lines).encode("utf-8", "replace"))
    outliner = _Outliner(lines, "section" if language in DATA else "module", max_chars)
    outliner.visit(tree.root_node, "", outliner.top, 1)
    return outliner.marks


@lru_cache
def _grammar(language: str) -> Language:
    try:
        from tree_sitter_language_pack import get_language
    except ImportError as exc:
        raise MissingDriverError("tree-sitter-language-pack", "code") from exc
    grammar: Language = get_language(language)
    return grammar


class _Outliner:
    def __init__(self, lines: Sequence[str], top: Kind, max_chars: int) -> None:
        self.top = top
        self.max_chars = max_chars
        self.marks = [Mark(0, "", top, 0)]
        self._defined = -1
        self._offsets = [0, *accumulate(map(len, lines))]

    def visit(self, container: Node, scope: str, kind: Kind, depth: int) -> None:
        """Mark the children of a node that is too long, or too full, to be one stretch."""
        comment = last = -1
        for child in container.named_children:
            first, last_row = _rows(child)
            if child.type in _ATTACHED or "comment" in child.type:
                if comment < 0 or first > last + _NEAR:
                    comment = first
                    self._mark(first, scope, kind, depth)
                last = last_row
                continue
            lead = comment if comment >= 0 and first <= last + _NEAR else first
            comment = -1
            self._child(child, (lead, last_row), scope, kind, depth)

    def _child(self, child: Node, rows: tuple[int, int], scope: str, kind: Kind, depth: int) -> None:
        lead, last = rows
        definition = _definition(child) if self.top != "section" else None
        long = self._size(lead, last) > self.max_chars
        nested = definition is not None and kind == definition.kind == "function"
        if definition and not (nested and self._size(lead, last) <= self.max_chars // 2):
            name = f"{scope}.{definition.name}" if scope else definition.name
            self._mark(lead, name, definition.kind, depth, defines=True)
            if (long or definition.kind == "module") and depth < _MAX_DEPTH:
                self.visit(_body(definition.node), name, definition.kind, depth + 1)
            return
        self._mark(lead, scope, kind, depth)
        if depth < _MAX_DEPTH and (long or (child.type in TRANSPARENT and kind != "function")):
            self.visit(child, scope, kind, depth + 1)

    def _mark(self, row: int, symbol: str, kind: Kind, depth: int, *, defines: bool = False) -> None:
        """Begin a stretch, unless a definition began on the same row: ``class A: x = 1`` stays A's."""
        latest = self.marks[-1]
        if row > latest.row:
            self.marks.append(Mark(row, symbol, kind, depth))
        elif row == latest.row and defines and row > self._defined:
            self.marks[-1] = Mark(row, symbol, kind, latest.depth)
        self._defined = row if defines else self._defined

    def _size(self, first: int, last: int) -> int:
        return self._offsets[min(last + 1, len(self._offsets) - 1)] - self._offsets[first]


def _rows(node: Node) -> tuple[int, int]:
    first, (last, column) = node.start_point[0], node.end_point
    return first, last - 1 if column == 0 and last > first else last


def _definition(node: Node) -> _Definition | None:
    kind = KINDS.get(node.type)
    if kind:
        if kind == "module" and _body(node) is node:
            return None
        name = _name(node)
        return _Definition(name, kind, node) if name else None
    if node.type in WRAPPERS:
        return next((found for child in node.named_children if (found := _definition(child))), None)
    if node.type in BINDINGS:
        target, value = (node.child_by_field_name(field) for field in BINDINGS[node.type])
        if target is not None and value is not None and value.type in FUNCTION_VALUES:
            return _Definition(_clean(target), "function", value)
    return None


def _body(node: Node) -> Node:
    body = node.child_by_field_name("body")
    if body is not None:
        return body
    return next((child for child in reversed(node.named_children) if child.type.endswith("body")), node)


def _name(node: Node) -> str:
    named = node.child_by_field_name("name")
    if named is not None:
        receiver = node.child_by_field_name("receiver")
        return f"{_receiver(receiver)}{_clean(named)}" if receiver is not None else _clean(named)
    declarator = node.child_by_field_name("declarator")
    if declarator is not None:
        return _clean(_innermost(declarator))
    typed = node.child_by_field_name("type")
    if typed is not None:
        return _clean(typed)
    if node.type in UNNAMED:
        return UNNAMED[node.type]
    for child in node.named_children:
        if child.type in _IDENTIFIERS or child.type == "object_reference":
            return _clean(child)
        if child.type in {"type_spec", "type_alias"}:
            return _name(child)
    return ""


def _receiver(node: Node) -> str:
    """Name the type of ``(r *T[K])`` or of Kotlin's ``T.``, with a dot."""
    found = re.findall(r"\w+", (node.text or b"").decode("utf-8", "replace").partition("[")[0].partition("<")[0])
    return f"{found[-1]}." if found else ""


def _innermost(declarator: Node) -> Node:
    while True:
        inner = declarator.child_by_field_name("declarator")
        if inner is None and declarator.type in {"parenthesized_declarator", "reference_declarator"}:
            inner = next(iter(declarator.named_children), None)
        if inner is None:
            return declarator
        declarator = inner


def _clean(node: Node) -> str:
    text = (node.text or b"").decode("utf-8", "replace")
    if "operator" not in text:
        text = text.partition("<")[0]
    return re.sub(r"\s+", " ", text.replace("::", ".").replace("\\", ".")).strip(" .'\"")[:_MAX_NAME]
