"""Reading and writing filters: the dict form, the short form and the string form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qvec.errors import FilterError
from qvec.filters import And, Compare, Condition, Exists, Field, Filter, Not, Op, Or, Where

MAX_DEPTH = 64
"""How deep a filter may be nested: beyond any real use, and within every database's parser and Python's stack."""

_JOINS = {"AND", "OR", "NOT"}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<quoted>`[^`]+`)
    |(?P<symbol>==|!=|<>|<=|>=|[=<>()\[\],])
    |(?P<word>[^\W\d](?:\w|\\.|[.\-](?=\w))*)
    )""",
    re.VERBOSE,
)
_SYMBOLS = {"=": "==", "<>": "!="}


def to_filter(where: Where) -> Filter | None:
    """Read a filter in any of its forms: Python, dict, short dict, string; None stays None.

    ``{"operator": "AND", "conditions": [...]}`` and ``{"field": "lang", "operator": "==", "value": "py"}`` are the dict
    form; ``{"lang": "py", "stars": {">=": 10}}`` the short one; ``"lang = 'py' and stars >= 10"`` the string.

    Raises:
        FilterError: it cannot be read.
    """
    if where is None:
        return None
    if isinstance(where, Condition):
        return _shallow(where.filter)
    if isinstance(where, Compare | Exists | And | Or | Not):
        return _shallow(where)
    if isinstance(where, str):
        return parse(where)
    if isinstance(where, Mapping):
        return from_dict(where)
    raise FilterError(f"a filter is a string, a dict or a condition, not {type(where).__name__}")


def from_dict(form: Mapping[str, object]) -> Filter:
    """Read the dict form or the short form.

    Raises:
        FilterError: it cannot be read.
    """
    try:
        return _shallow(_from_dict(form))
    except RecursionError:
        raise _too_deep() from None


def to_dict(filter: Filter) -> dict[str, object]:
    """Write the dict form, fit for JSON; `from_dict` reads it back."""
    match filter:
        case And(conditions):
            return {"operator": "AND", "conditions": [to_dict(item) for item in conditions]}
        case Or(conditions):
            return {"operator": "OR", "conditions": [to_dict(item) for item in conditions]}
        case Not(condition):
            return {"operator": "NOT", "conditions": [to_dict(condition)]}
        case Exists(field):
            return {"field": field, "operator": "exists"}
        case Compare(field, op, value):
            return {"field": field, "operator": op.value, "value": list(value) if isinstance(value, tuple) else value}


def parse(text: str) -> Filter:
    """Read the string form.

    Comparisons ``= == != <> < <= > >=``, ``in [..]``, ``not in [..]``, ``contains``, ``contains any [..]``,
    ``contains all [..]``, ``starts with``, ``exists(field)``, ``is null``, ``is not null``; joined by ``and``, ``or``,
    ``not`` and parentheses. Strings stand in single or double quotes, doubled to be meant; fields with other
    characters than letters, digits, ``_``, ``-``, ``.`` in backquotes.

    Raises:
        FilterError: says where it cannot be read.
    """
    parser = _Parser(text, _scan(text))
    found = parser.disjunction()
    parser.end()
    return found


def _from_dict(form: Mapping[str, object]) -> Filter:
    if "operator" not in form:
        return _from_short(form)
    operator = str(form["operator"])
    if operator.upper() in _JOINS:
        conditions = form.get("conditions")
        if not isinstance(conditions, Sequence) or isinstance(conditions, str):
            raise FilterError(f"{operator} takes a list of conditions")
        parts = tuple(_condition(item) for item in conditions)
        if operator.upper() == "NOT":
            return Not(parts[0] if len(parts) == 1 else And(parts))
        return And(parts) if operator.upper() == "AND" else Or(parts)
    if "field" not in form:
        raise FilterError(f"the condition with operator {operator!r} names no field")
    field = form["field"]
    if not isinstance(field, str):
        raise FilterError(f"a field's name is a string, not {field!r}")
    if operator == "exists":
        return Exists(field)
    return _compare(field, operator, form.get("value"))


def _condition(item: object) -> Filter:
    if isinstance(item, Mapping):
        return _from_dict(item)
    if isinstance(item, Condition):
        return item.filter
    if isinstance(item, Compare | Exists | And | Or | Not):
        return item
    raise FilterError(f"a condition is a dict, not {item!r}")


def _shallow(filter: Filter) -> Filter:
    level: list[Filter] = [filter]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return filter
    raise _too_deep()


def _inner(filter: Filter) -> Sequence[Filter]:
    match filter:
        case And(conditions) | Or(conditions):
            return conditions
        case Not(condition):
            return (condition,)
        case _:
            return ()


def _too_deep() -> FilterError:
    return FilterError(f"the filter is nested deeper than {MAX_DEPTH} levels")


def _from_short(form: Mapping[str, object]) -> Filter:
    parts: list[Filter] = []
    for field, value in form.items():
        if isinstance(value, Mapping):
            if not value:
                raise FilterError(f"{field!r} is compared with an empty dict")
            parts.extend(_compare(field, str(operator), item) for operator, item in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            parts.append(_compare(field, Op.IN, value))
        else:
            parts.append(_compare(field, Op.EQ, value))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _compare(field: str, operator: str, value: object) -> Filter:
    operator = _SYMBOLS.get(operator, operator)
    if operator in {"contains any", "contains all"}:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise FilterError(f"{field!r} {operator}: takes a list of values, not {value!r}")
        condition = Field(field).contains_any(value) if operator == "contains any" else Field(field).contains_all(value)
        return condition.filter
    return Compare(field, operator, value)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _scan(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    stop = len(text.rstrip())
    while at < stop:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise FilterError(f"cannot read the filter at character {at}: {text[at : at + 20]!r}")
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return found


class _Parser:
    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def disjunction(self) -> Filter:
        parts = [self._conjunction()]
        while self._take("or"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def end(self) -> None:
        if self.at < len(self.tokens):
            raise self._error("the end, 'and' or 'or'")

    def _conjunction(self) -> Filter:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negation(self) -> Filter:
        if not (self._peek() == "not" or self._peek() == "("):
            return self._comparison()
        self.depth += 1
        if self.depth >= MAX_DEPTH:
            raise _too_deep()
        if self._take("not"):
            found: Filter = Not(self._negation())
        else:
            self._need("(")
            found = self.disjunction()
            self._need(")")
        self.depth -= 1
        return found

    def _comparison(self) -> Filter:
        if self._peek() == "exists" and self._peek(1) == "(":
            self.at += 2
            field = self._field()
            self._need(")")
            return Exists(field)
        field = self._field()
        if self._take("is"):
            absent = not self._take("not")
            self._need("null")
            return Not(Exists(field)) if absent else Exists(field)
        operator = self._operator()
        if operator in {Op.IN, Op.NOT_IN, "contains any", "contains all"}:
            return _compare(field, operator, self._values())
        return _compare(field, operator, self._value())

    def _operator(self) -> str:
        for words in ("not in", "starts with", "contains any", "contains all", "contains", "in"):
            if self._take(*words.split()):
                return words
        if self.at < len(self.tokens) and self.tokens[self.at].text in {"=", "==", "!=", "<>", "<", "<=", ">", ">="}:
            self.at += 1
            return self.tokens[self.at - 1].text
        raise self._error("a comparison (=, !=, <, <=, >, >=, in, contains, starts with)")

    def _field(self) -> str:
        named = self.at < len(self.tokens) and self.tokens[self.at].kind in {"word", "quoted"}
        if named and self._peek() not in {"and", "or", "not"}:
            self.at += 1
            return self.tokens[self.at - 1].text.strip("`")
        raise self._error("a field")

    def _values(self) -> list[object]:
        close = "]" if self._take("[") else ")"
        if close == ")":
            self._need("(")
        values: list[object] = []
        while not self._take(close):
            if values:
                self._need(",")
            values.append(self._value())
        return values

    def _value(self) -> object:
        if self.at >= len(self.tokens):
            raise self._error("a value")
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "number":
            return int(token.text) if token.text.lstrip("-").isdigit() else float(token.text)
        if token.kind == "string":
            mark = token.text[0]
            return token.text[1:-1].replace(mark * 2, mark)
        if token.text.lower() in {"true", "false"}:
            return token.text.lower() == "true"
        self.at -= 1
        raise self._error("a value: a number, 'text', true or false")

    def _peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        if at >= len(self.tokens) or self.tokens[at].kind not in {"word", "symbol"}:
            return ""
        return self.tokens[at].text.lower()

    def _take(self, *words: str) -> bool:
        if all(self._peek(i) == word for i, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._error(repr(word))

    def _error(self, wanted: str) -> FilterError:
        if self.at >= len(self.tokens):
            return FilterError(f"the filter ends where {wanted} is needed: {self.text!r}")
        token = self.tokens[self.at]
        found = f"{token.text!r} at character {token.at}"
        return FilterError(f"the filter has {found} where {wanted} is needed: {self.text!r}")
