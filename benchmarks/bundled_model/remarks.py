"""Read comments and the lines below them: short intents, and the calls that do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

LONGEST = 60
MOST_LINES = 10
MOST_WORDS = 14
_HAN = re.compile(r"[\u4e00-\u9fff]")
_COMMENT = re.compile(r"^(\s*)#+\s?(.*)$")
_DEFINED = re.compile(r"\s*(?:async )?(?:def|class) (\w+)")
_NO_REMARK = re.compile(r"^[-=*>#!]|^(todo|fixme|noqa|type:|pylint)|={3,}|-{3,}", re.IGNORECASE)
# 1. / （2） / 第三步： / step 4:
_NUMBER = re.compile(
    r"^([(（]?[0-9一二三四五六七八九十]+[.、)）:：]|第[一二三四五六七八九十0-9]+步[：:，,]?|(步骤|step)\s*\d+[：:.]?)\s*",
    re.IGNORECASE,
)
_NO_ENGLISH = re.compile(r"[=(){}\[\]<>;|\\@$%^~*#]|https?:|copyright|license|\b(xxx|hack)\b", re.IGNORECASE)
# An English comment that begins with one of these explains or excuses; the others mostly say what is done.
_BEGINNINGS = """
a all already also always an and another any are as at be because but by can can't cannot could default did do does
doesn't don't each else every example examples first fix for from hence here however i if in is isn't it its just
last may maybe me might more most must nb never next no none not note now of on one only or otherwise other perhaps
probably same second see shall should since so some still such that the there these they third this those three thus to
true two unless usage was we were what when where which while who why will with without won't would you false
"""
_NO_INTENTS = frozenset(_BEGINNINGS.split())
_CHINESE_COMMENT = re.compile(r"#[^\n\"']*[\u4e00-\u9fff][^\n]*")
_CHINESE = re.compile(r"[\u4e00-\u9fff][\u4e00-\u9fff，。、：；！？（）“”]*")


def remarks(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Find the comments of a Python file that say, in Chinese or English, what the code below them does.

    Args:
        lines: the file.

    Yields:
        The comment's first line without its number, the lines below it up to the next comment, blank line or smaller
        indent, and the function or class that was begun last.
    """
    at, owner = 0, ""
    while at < len(lines):
        if defined := _DEFINED.match(lines[at]):
            owner = defined.group(1)
        comment = _COMMENT.match(lines[at])
        if comment is None:
            at += 1
            continue
        indent, first = comment.group(1), at
        while at < len(lines) and (more := _COMMENT.match(lines[at])) and more.group(1) == indent:
            at += 1
        text = _NUMBER.sub("", comment.group(2).strip())
        code = _below(lines, at, len(indent))
        told = len(re.sub(r"\W+", "", code)) >= 20 and not code.lstrip().startswith(("'", '"'))
        if at - first <= 3 and _is_remark(text) and told:
            yield text, code, owner


def _is_remark(text: str) -> bool:
    if _NO_REMARK.search(text):
        return False
    if _HAN.search(text):
        return len(_HAN.findall(text)) >= 3 and len(text) <= LONGEST
    words = text.split()
    if not 3 <= len(words) <= MOST_WORDS or words[0].lower().strip(".,:'") in _NO_INTENTS:
        return False
    return text.isascii() and sum(map(str.isalpha, text)) > 0.75 * len(text) and not _NO_ENGLISH.search(text)


def _below(lines: Sequence[str], at: int, indent: int) -> str:
    found: list[str] = []
    for line in lines[at : at + 2 * MOST_LINES]:
        blank = not line.strip()
        if (blank and found) or _COMMENT.match(line) or len(found) == MOST_LINES:
            break
        if not blank and len(line) - len(line.lstrip()) < indent:
            break
        if not blank:
            found.append(line[indent:])
    return "\n".join(found)


def without_chinese(code: str) -> str:
    """Take Chinese comments and words out of code, so that a Chinese query is not answered by its own words."""
    return _CHINESE.sub(" ", _CHINESE_COMMENT.sub("", code))
