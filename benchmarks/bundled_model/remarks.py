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
# An English comment is an intent when it starts as a summary does, not when it explains or excuses.
_BEGINNINGS = """
accept acquire add adjust align allocate allow analyze append apply approximate assert assign attach authenticate
average backup batch begin bind bootstrap broadcast build cache calculate call cancel cast center change check
choose clamp classify clean clear click clone close cluster collapse collect combine compare compile compress
compute concat concatenate configure connect construct convert copy count create crop cut decode decompress decrypt
deduplicate define delete deserialize detect determine disable discard discover dispatch display divide do download
draw drop dump duplicate edit embed emit enable encode encrypt ensure enter enumerate erase escape estimate evaluate
exclude execute exit expand explode export extend extract fetch fill filter find fit fix flatten flip flush force
format forward free freeze gather generate get give grab group guess handle hash hide identify ignore implement
import include increment infer initialize inject insert install instantiate interpolate invert invoke iterate join
keep kill launch limit link list listen load lock log look lookup loop lower make manage map mark mask match
measure merge migrate mock modify monitor mount move multiply normalize notify obtain open order override overwrite
pack pad paint parse partition pass patch permute pick ping plot pop populate post prepare prepend preserve print
process produce project prompt propagate provide prune publish pull purge push put query queue quote raise randomize
read rebuild receive record recover redirect reduce refresh register reject release reload remove rename render
reorder repeat replace report request require resample reset reshape resize resolve restart restore restrict resume
retrieve retry return reuse reverse revert rewrite rotate round run sample save scale scan schedule search seek
select send separate serialize set setup shift show shuffle shut simplify simulate skip sleep slice solve sort
split squash stack start stop store stream strip subscribe substitute subtract sum swap switch sync synchronize tag
take terminate test throw toggle tokenize trace track train transform translate transpose traverse trigger trim
truncate try turn unescape unlock unpack unregister unwrap unzip update upgrade upload use validate verify visit
wait walk warn watch wrap write yield zip
"""
_VERBS = frozenset(_BEGINNINGS.split())
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
        if at - first <= 3 and _is_remark(text) and len(re.sub(r"\W+", "", code)) >= 20:
            yield text, code, owner


def _is_remark(text: str) -> bool:
    if _NO_REMARK.search(text):
        return False
    if _HAN.search(text):
        return len(_HAN.findall(text)) >= 3 and len(text) <= LONGEST
    words = text.split()
    begins = 3 <= len(words) <= MOST_WORDS and words[0].lower() in _VERBS
    return begins and text.isascii() and sum(map(str.isalpha, text)) > 0.75 * len(text) and not _NO_ENGLISH.search(text)


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
