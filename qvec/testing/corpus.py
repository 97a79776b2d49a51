"""The documents that the suite indexes: English and Chinese, code, emoji, right-to-left text, quotes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from qvec.types import Document, Vectors

DIM = 16
"""Width of the suite's vectors."""

CORPUS: tuple[Document, ...] = (
    Document("read_csv", "def readCsvFile(path):\n    return list(csv.reader(open(path)))", {"lang": "py"}),
    Document("read_zh", '"""读取文件并返回全部内容。"""\ndef load(path): ...', {"lang": "py", "title": "读取"}),
    Document("write_zh", "将数据写入文件，然后关闭文件。", {"lang": "zh"}),
    Document("delete_zh", "删除数据库中的记录", {"lang": "zh"}),
    Document("parse_args", "Parse the command line arguments and return them.", {"lang": "en", "title": "argparse"}),
    Document("plural", "Files, file, filing: files of a file system.", {"lang": "en"}),
    Document("http", "class HTTPServer2: def handle_request(self): pass", {"lang": "py", "title": "HTTP server"}),
    Document("hash", "sha256 of the file, then SHA-256 again; md5 is older", {"lang": "en"}),
    Document("accents", "Le café naïve de l'été; Ångström", {"lang": "fr"}),
    Document("mixed", "用 pandas 的 read_csv 读取 CSV文件", {"lang": "zh", "title": "数据分析"}),
    Document("hebrew", "קריאת קובץ טקסט מהדיסק", {"lang": "he"}),
    Document("arabic", "قراءة ملف من القرص", {"lang": "ar"}),
    Document("emoji", "Deploy 🚀 the rocket 👩‍💻 now", {"lang": "en"}),
    Document("quotes", """It's "quoted" `code` -- O'Brien; DROP TABLE \\ 100% a_b""", {"lang": "en"}),
    Document("japanese", "ファイルを読み込む関数", {"lang": "ja"}),
    Document("korean", "파일을 읽는 함수", {"lang": "ko"}),
    Document("long", "needle " + "hay stack " * 200, {"lang": "en"}),
    Document("short", "needle", {"lang": "en"}),
    Document("code", "SELECT name FROM users WHERE id = 'x' AND NOT deleted", {"lang": "sql"}),
    Document("blank", "", {"lang": "none"}),
)
"""Small enough to be told apart by hand; every rule of the tokens occurs."""

QUERIES: tuple[str, ...] = (
    "读取文件",
    "读",
    "file",
    "files",
    "read csv file",
    "readCsvFile",
    "read_csv",
    "CSV文件",
    "handle_request",
    "http server",
    "sha256",
    "256",
    "cafe naive",
    "ÅNGSTRÖM",
    "needle",
    "needle needle hay",
    "קובץ",
    "ملف",
    "rocket",
    "O'Brien",
    "'; DROP TABLE users; --",
    'a "b" OR NOT (c* AND d:e) NEAR/2 ^f -g',
    "ファイル",
    "파일",
    "数据",
    "command line arguments",
)
"""Queries with and without answers; some are another search engine's syntax."""

BAD_DAYS: dict[str, str] = {
    "10,000 words": " ".join(
        f"zq{number} file" if number % 3 else f"读取{number} needle Files" for number in range(4286)
    ),
    "only stop words": "the of and a to is it that in for on with as at by an be this",
    "Chinese stop words": "的 了 是 在 和 我们 这个",
    "only punctuation": "?!… -- ,.;:，。！？「」()[]{}<>*&^%$#@~`'\"\\|/",
    "only emoji": "🚀👩‍💻🇪🇺 🎈☃️",
    "mixed scripts": "read读取file文件 קובץ ملف ファイルcafé naïve파일 sha256のHTTPServer2",
    "one CJK character": "文",
    "one kana": "フ",
    "one syllable": "함",
    "one CJK character beyond the basic plane": "𠮷",
    "one letter": "d",
    "wide and ligature forms": "ＣＳＶ ﬁle",
    "one word a thousand times": "needle " * 1000,
    "one very long word": "needle" * 2000,
    "a long run of Chinese": "读取文件并返回全部内容" * 300,
}
"""Queries that nobody should ask and somebody will."""

NASTY_TEXTS: tuple[str, ...] = (
    "plain",
    "",
    " \t\n leading and trailing \n ",
    "line\r\nbreaks\rof\u2028all\u2029kinds\x0b\x0c",
    'it\'s "quoted" `back` \\slash\\ $dollar $1 %s {x} ${y} :name ?',
    "'; DROP TABLE documents; --",
    "👩‍💻🚀🇪🇺 emoji",
    "שלום \u202eright to left\u202c مرحبا",
    "e\u0301 decomposed, é composed, ﬁ ligature, Ａ wide",
    "读取文件 𠀀𠮷 beyond the basic plane",
    "\x01\x02\x1b[0m control \x7f",
    '{"json": [1, 2, "x"]} <xml a="b"/> a,b\tc',
    "\\N \\. \\x00 copy escapes",
)
"""Texts that break what glues queries or trims strings."""

NASTY_IDS: tuple[str, ...] = (
    "plain",
    "with space",
    " ends with blanks ",
    "it's",
    'double "quote"',
    "back\\slash",
    "a/b?c=d&e#f%20",
    "comma,semi;colon:",
    "'; DROP TABLE x; --",
    "읽기-读取-קרא",
    "🚀👩‍💻",
    "new\nline\ttab",
    "{brace} [bracket] $1 %s",
    "1",
    "1.0",
    "true",
    "null",
    "UPPER",
    "upper",
    "é",
    "e\u0301",
    "x" * 512,
    "读" * 170,
)
"""Ids that differ by little or hold what a query language means."""


def vectors_for(documents: Sequence[Document], *, dim: int = DIM) -> Vectors:
    """Give each document a vector that depends on its id alone: normal, not of unit length."""
    rows = [_row(document.id, dim) for document in documents]
    return np.array(rows, dtype=np.float32).reshape(len(rows), dim)


def query_vectors(count: int, *, dim: int = DIM) -> Vectors:
    """Make query vectors, the same in each run."""
    return np.array([_row(f"query {i}", dim) for i in range(count)], dtype=np.float32)


def numbered(count: int, *, group_every: int = 100) -> list[Document]:
    """Make `count` small documents; one in `group_every` has ``{"rare": True}``."""
    return [
        Document(f"doc{i:05}", f"document number {i}", {"number": i, "rare": i % group_every == 7})
        for i in range(count)
    ]


def _row(key: str, dim: int) -> list[float]:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return list(np.random.default_rng(seed).normal(size=dim))
