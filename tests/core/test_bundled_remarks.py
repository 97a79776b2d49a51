"""Comments in Python files become short queries for the lines below them."""

from __future__ import annotations

import pytest

from benchmarks.bundled_model.lexicon import name_of
from benchmarks.bundled_model.packages import _functions
from benchmarks.bundled_model.remarks import remarks, without_chinese

ENGLISH = [
    ("# Read all rows of the file", True),
    ("# the file is read here", False),
    ("# Don't read the file twice", False),
    ("# Rows of the file", True),
    ("# Read rows = table[3] again", False),
    ("# Check that the license is there", False),
    ("# Close it", False),
]
SOURCE = """
class Mailer:
    def send(self, path):
        # 1. 读取附件内容
        with open(path, "rb") as file:
            payload = file.read()

        message = EmailMessage()
        # 连接邮件服务器
        # 并且登录
        server = smtplib.SMTP_SSL(self.host)
        server.login(self.user, self.password)
    # 发送完成以后记录日志
log.info("sent %s messages today", count)
"""


def test_a_comment_stands_for_the_lines_below_it_without_its_number():
    found = list(remarks(SOURCE.splitlines()))
    assert [(text, owner) for text, _, owner in found] == [("读取附件内容", "send"), ("连接邮件服务器", "send")]
    assert found[0][1] == 'with open(path, "rb") as file:\n    payload = file.read()'
    assert found[1][1].splitlines()[-1] == "server.login(self.user, self.password)"


@pytest.mark.parametrize(
    "lines",
    [
        "# ------ 工具函数分隔线 ------\nvalue = compute_everything(first, second)",
        "# TODO: 这里需要重构\nvalue = compute_everything(first, second)",
        "# the whole file is read\nvalue = compute_everything(first, second)",
        "# 读取文件\nx = 1",
        "# 这一行是说明\n# 第二行也是说明\n# 第三行还是说明\n# 第四行\nvalue = compute_everything(first, second)",
        "    # 缩进结束了以后\nvalue = compute_everything(first, second)",
        "# 帮助文本\n'Reads every row of the file named on the command line'",
    ],
)
def test_rulers_notes_remarks_on_state_long_texts_and_trifles_are_no_remarks(lines):
    assert not list(remarks(lines.splitlines()))


@pytest.mark.parametrize(("comment", "told"), ENGLISH)
def test_an_english_comment_counts_when_it_does_not_begin_as_an_explanation_does(comment, told):
    assert bool(list(remarks([comment, "value = compute_everything(first, second)"]))) is told


def test_code_loses_its_chinese_comments_and_words_and_keeps_the_rest():
    code = 'count = len(rows)  # 统计行数\nprint("共有，{} 行".format(count))  # total'
    assert without_chinese(code) == 'count = len(rows)  \nprint(" {}  ".format(count))  # total'


def test_short_chinese_docstrings_count_and_short_english_ones_do_not():
    source = 'def unzip(path):\n    """解压"""\n    extract(path)\n\ndef go():\n    """Go."""\n    run()\n'
    assert [row["name"] for row in _functions(source.encode(), module="m")] == ["unzip"]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"h": "tools.files.File.read_all", "c": ""}, "read_all"),
        ({"h": "", "c": "func (c *Client) SendMail(to string) error {"}, "SendMail"),
        ({"h": "", "c": "public static String trim(String text) {"}, "trim"),
        ({"h": "", "c": "x = 1"}, ""),
    ],
)
def test_a_pair_is_named_by_its_header_or_its_code(row, name):
    assert name_of(row) == name
