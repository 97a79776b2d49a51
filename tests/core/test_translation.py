"""English words for Chinese queries: which, and where a search asks for them."""

from __future__ import annotations

import pytest

import qvec
from qvec.errors import InvalidInputError
from qvec.translation import english_words, with_english


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("读取CSV文件", ["read", "file"]),
        ("如何随机打乱列表", ["random", "shuffle", "list"]),
        ("发送带附件的邮件", ["send", "attachment", "email"]),
        ("文件文件", ["file"]),
    ],
)
def test_chinese_words_have_their_english_ones_in_order_and_once(query: str, words: list[str]) -> None:
    found = english_words(query)
    assert [word for word in found if word in words] == words
    assert len(found) == len(set(found)) <= 2 * len(query)


NOT_CHINESE = ["parse command line arguments", "ファイル", "파일을 읽다", "文字列を読む", "的", "龘靐", "", "1 2"]


@pytest.mark.parametrize("query", NOT_CHINESE)
def test_what_has_no_known_chinese_word_stays_as_it_is(query: str) -> None:
    assert with_english(query) == query


def test_the_query_itself_stands_first() -> None:
    assert with_english("读取CSV文件").startswith("读取CSV文件 read")


def test_a_longer_word_is_preferred_to_its_parts() -> None:
    assert {"command", "line"} <= set(english_words("命令行"))
    assert "line" not in english_words("命令")


def test_a_long_query_is_cut_in_time() -> None:
    assert english_words("读取文件" * 5000)[:1] == ["read"]


@pytest.fixture
def code():
    with qvec.connect("memory://") as database:
        found = database.collection("code", model="hashing")
        found.index(
            [
                {"id": "read", "text": "def read_file(path): ..."},
                {"id": "send", "text": "def send_email(to): ..."},
                {"id": "zh", "text": "删除一个目录"},
            ]
        )
        yield found


@pytest.mark.parametrize(
    ("mode", "translate", "found"),
    [
        ("hybrid", None, True),
        ("hybrid", True, True),
        ("hybrid", False, False),
        ("lexical", None, False),
        ("lexical", True, True),
        ("lexical", False, False),
    ],
)
def test_the_keyword_leg_is_asked_for_english_words(code, mode, translate, found) -> None:
    hits = code.search("读取文件", mode=mode, translate=translate, explain=True)
    ranked = [hit.id for hit in hits for leg in hit.legs if leg.name == "lexical"]
    assert (ranked == ["read"]) is found
    assert hits.keywords == (with_english("读取文件") if found else "读取文件")


def test_a_text_in_chinese_is_still_found_first_by_its_own_words(code) -> None:
    assert code.search("删除目录", mode="lexical", translate=True)[0].id == "zh"


def test_a_search_by_meaning_alone_has_no_keywords(code) -> None:
    assert code.search("读取文件", mode="dense").keywords == ""


def test_a_cursor_does_not_lead_into_the_other_kind_of_search(code) -> None:
    cursor = code.search("读取文件", k=1).cursor
    with pytest.raises(InvalidInputError, match="another search"):
        code.search("读取文件", k=1, cursor=cursor, translate=False)
