"""Cutting files into chunks."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qvec.code import Chunk, chunk_file, documents_of, title_of
from qvec.code.languages import language_of
from qvec.code.summary import summary_of
from qvec.errors import InvalidInputError

STDLIB = Path(sysconfig.get_paths()["stdlib"])
_SUFFIXES = "py js ts tsx java go rs c cpp cs rb php kt swift scala sh sql html css json yaml toml md rst txt unknown"
SUFFIXES = _SUFFIXES.split()
CODE = st.lists(
    st.sampled_from(
        [
            *[
                "def f():\n",
                "    return 1\n",
                "class A:\n",
                "  @dec\n",
                "# c\n",
                "// c\n",
                "/* c\n",
                "*/\n",
                "\n",
                "\r\n",
            ],
            *[
                "{\n",
                "}\n",
                "function g() {\n",
                "fn main() {\n",
                "```\n",
                "# Title\n",
                "===\n",
                '"""\n',
                "'\n",
                "x = 1; y\n",
            ],
            *["\u2028", "\x0c\n", "\x0b", "\r", "读取文件\n", "\ud800\n", "a: b\n", "- c\n", "[t]\n", "x" * 90 + "\n"],
        ]
    ),
    max_size=60,
).map("".join)


def symbols(path: str, text: str, **options: int) -> list[str]:
    return [chunk.symbol for chunk in chunk_file(path, text, **options)]


def check_cover(text: str, chunks: list[Chunk]) -> None:
    """Every line in exactly one chunk, told by text and by line numbers."""
    assert "".join(chunk.text for chunk in chunks) == text
    expected = 1
    for chunk in chunks:
        assert chunk.start_line == expected
        assert chunk.end_line == expected + chunk.text.rstrip("\n").count("\n") or chunk.text.endswith("\n\n")
        expected += chunk.text.count("\n") + (not chunk.text.endswith("\n"))
        assert chunk.end_line == expected - 1


@given(text=CODE, suffix=st.sampled_from(SUFFIXES), max_chars=st.sampled_from([1, 40, 200, 1500]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_every_line_of_any_text_is_in_exactly_one_chunk(text, suffix, max_chars):
    chunks = chunk_file(f"a.{suffix}", text, max_chars=max_chars)
    check_cover(text, chunks)
    assert all(len(chunk.text) <= max_chars or chunk.start_line == chunk.end_line for chunk in chunks)


@given(text=st.text(max_size=300), suffix=st.sampled_from(SUFFIXES))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_character_of_arbitrary_text_is_in_exactly_one_chunk(text, suffix):
    check_cover(text, chunk_file(f"a.{suffix}", text, max_chars=50))


@pytest.mark.parametrize("folder", ["email", "asyncio", "concurrent", "json", "xml", "idlelib"])
def test_every_line_of_the_standard_library_is_in_exactly_one_chunk(folder):
    for file in sorted((STDLIB / folder).rglob("*.py")):
        text = file.read_bytes().decode("utf-8", "replace")
        chunks = chunk_file(file.name, text)
        check_cover(text, chunks)
        assert all(len(chunk.text) <= 1500 for chunk in chunks)
        ids = [document.id for document in documents_of(chunks)]
        assert len(set(ids)) == len(ids)


def test_the_csv_module_is_cut_along_its_methods():
    found = chunk_file("csv.py", (STDLIB / "csv.py").read_text(encoding="utf-8"))
    by_symbol = {chunk.symbol: chunk for chunk in found}
    fieldnames = by_symbol["DictReader.fieldnames"]
    assert fieldnames.kind == "function"
    assert fieldnames.text.lstrip().startswith("@property")
    assert "@fieldnames.setter" in fieldnames.text
    assert by_symbol["DictWriter"].kind == "class"
    assert {"DictReader.__init__, DictReader.__iter__", "DictReader.__next__", "Sniffer.has_header"} <= set(by_symbol)


BODY = "".join(f"    value_{number} = compute(value_{number})\n" for number in range(10))


def test_decorators_and_comments_above_stay_with_their_definition():
    text = f"import os\n\n{BODY.replace('    ', '')}\n# why it is so\n# and more\n@cache\n@other\ndef f():\n{BODY}\n"
    last = chunk_file("a.py", text)[-1]
    assert last.symbol == "f"
    assert last.text.startswith("# why it is so\n# and more\n@cache")


def test_a_comment_stays_with_its_definition_across_one_blank_line():
    text = f"def e():\n{BODY}\n\n# ====\n# about f\n# ====\n\ndef f():\n{BODY}"
    assert chunk_file("a.py", text)[1].text.startswith("# ====\n# about f")


def test_a_long_function_is_cut_between_statements_and_keeps_its_name():
    text = "def f():\n" + "".join(f"    call_{number}(\n        argument,\n    )\n" for number in range(60))
    chunks = chunk_file("a.py", text, max_chars=600)
    assert len(chunks) > 2
    assert {chunk.symbol for chunk in chunks} == {"f"}
    assert all(chunk.text.startswith(("def", "    call")) for chunk in chunks)


def test_small_neighbours_are_merged_and_all_named():
    text = "".join(f"def f{number}():\n    return {number}\n\n\n" for number in range(3))
    assert symbols("a.py", text) == ["f0, f1, f2"]


def test_a_small_class_is_one_chunk():
    text = f"class A:\n    def f(self):\n{BODY}    def g(self):\n{BODY}"
    assert symbols("a.py", text) == ["A"]


def test_definitions_inside_conditions_are_found():
    body = BODY.replace("    ", "        ")
    text = f"if x:\n    def f():\n{body}\nelse:\n    def g():\n{body}"
    assert {"f", "g"} <= set(symbols("a.py", text))


def test_the_last_piece_of_a_cut_is_no_crumb():
    text = "def f():\n" + "    x = 1\n" * 155
    sizes = [len(chunk.text) for chunk in chunk_file("a.py", text)]
    assert min(sizes) > 300


CASES = {
    "a.js": (
        "/** doc */\nclass A {\n  m(a) {\n@\n  }\n  h = () => {\n@\n  }\n}\nconst f = () => {\n@\n}\n",
        ["A.m", "A.h", "f"],
    ),
    "a.ts": (
        "namespace N {\n  export function f(): void {\n@\n}\n}\nclass B<T> {\n  m(): T {\n@\n}\n  n() {\n@\n}\n}\n",
        ["N.f", "B.m"],
    ),
    "a.tsx": ("export const App = () => {\n@\n}\n", ["App"]),
    "a.java": ("package a;\nclass A {\n  A() {\n@\n  }\n  @Override\n  public void m() {\n@\n  }\n}\n", ["A.A", "A.m"]),
    "a.go": ("package a\n// Doc\nfunc (r *T[K]) Name() error {\n@\n}\nfunc F() {\n@\n}\n", ["T.Name", "F"]),
    "a.rs": (
        "impl<T> Tr for S<T> {\n  fn m(&self) {\n@\n}\nfn n() {\n@\n}\n}\nmod a {\n  pub fn z() {\n@\n}\n}\n",
        ["S.m", "a.z"],
    ),
    "a.c": ("#ifdef X\nstatic int *foo(int a) {\n@\n}\n#else\nint bar(void) {\n@\n}\n#endif\n", ["foo", "bar"]),
    "a.cpp": (
        "namespace a::b {\ntemplate<class T> class A {\n  void m() {\n@\n}\n};\n}\n"
        "int A::n(int x) {\n@\n}\nbool operator==(A a) {\n@\n}\n",
        ["a.b.A", "A.n", "operator=="],
    ),
    "a.cs": (
        "namespace N.M {\nclass A {\n  [Attr]\n  void M<T>() {\n@\n  }\n  A() {\n@\n  }\n}\n}\n",
        ["N.M.A.M", "N.M.A.A"],
    ),
    "a.rb": (
        "module M\n  class A\n    def m(a)\n@\n    end\n    def self.s\n@\n    end\n  end\nend\n",
        ["M.A.m", "M.A.s"],
    ),
    "a.php": ("<?php\nclass C {\n  public function m() {\n@\n  }\n}\nfunction f() {\n@\n}\n", ["C", "f"]),
    "a.kt": (
        "class A {\n  fun m() {\n@\n  }\n  companion object {\n    fun z() {\n@\n    }\n  }\n}\nfun T.ext() {\n@\n}\n",
        ["A.m"],
    ),
    "a.swift": ("class A {\n  init() {\n@\n  }\n  func m() {\n@\n  }\n}\n", ["A.init", "A.m"]),
    "a.scala": ("object O {\n  def q() = {\n@\n  }\n}\ntrait T {\n  def z() = {\n@\n  }\n}\n", ["O", "T"]),
    "a.sh": ("#!/bin/bash\n# c\nf() {\n@\n}\nfunction g {\n@\n}\n", ["f", "g"]),
    "a.sql": ("-- c\nCREATE TABLE s.b (\n x int,\n@\n);\nCREATE VIEW v AS SELECT\n@\n 1;\n", ["s.b", "v"]),
}


@pytest.mark.parametrize("path", CASES)
def test_definitions_are_found_and_named_in(path):
    text, wanted = CASES[path]
    fillers = {"a.sql": "  column_name varchar(20),\n", "a.rb": "    call value\n", "a.sh": "  echo some words\n"}
    filler = fillers.get(path, "    call(value);\n")
    text = text.replace("@\n", filler * (900 // len(filler)))
    found = symbols(path, text, max_chars=1100)
    assert set(wanted) <= set(found), found


def test_python_without_symbols_above_any_definition_is_a_module_chunk():
    chunk = chunk_file("a.py", "import os\nprint(os)\n")[0]
    assert (chunk.kind, chunk.symbol, chunk.language) == ("module", "", "python")


def test_markdown_is_cut_at_headings_and_not_inside_fences():
    prose = "Some words of prose.\n" * 20
    text = (
        f"# Top\n{prose}\n## Install\n{prose}```sh\n# no heading\n```\n### Source ###\n{prose}\nUnder\n-----\n{prose}"
    )
    chunks = chunk_file("a.md", text)
    assert [chunk.symbol for chunk in chunks] == ["Top", "Top > Install", "Top > Install > Source", "Top > Under"]
    assert "# no heading" in chunks[1].text
    assert {chunk.kind for chunk in chunks} == {"section"}


def test_a_fence_is_not_cut_while_it_fits():
    code = "```python\nx = 1\n\ny = 2\n\nz = 3\n```\n"
    text = "# T\n" + "words and words\n" * 30 + "\n" + code + "\n" + "words and words\n" * 30
    assert any(code in chunk.text for chunk in chunk_file("a.md", text, max_chars=600))


def test_restructured_text_is_cut_at_titles():
    prose = "Some words of prose.\n" * 20
    text = f"====\nTop\n====\n{prose}\nInstall\n=======\n{prose}\nSource\n------\n{prose}"
    assert symbols("a.rst", text) == ["Top", "Install", "Install > Source"]


def test_plain_text_is_cut_between_paragraphs():
    text = "\n\n".join(["One sentence of a paragraph.\n" * 10] * 20)
    chunks = chunk_file("notes.txt", text)
    assert len(chunks) > 3
    assert all(chunk.text.startswith("One") for chunk in chunks)


def test_an_unknown_language_is_cut_into_lines():
    chunks = chunk_file("a.weird", "some line\n" * 1000)
    assert {(chunk.language, chunk.kind, chunk.symbol) for chunk in chunks} == {("", "section", "")}
    assert all(len(chunk.text) <= 1500 for chunk in chunks)


def test_line_ends_are_kept_and_counted_as_editors_do():
    chunks = chunk_file("a.py", "x = 1\r\ny = '\u2028'\r\n")
    assert (chunks[0].text, chunks[0].end_line) == ("x = 1\r\ny = '\u2028'\r\n", 2)


def test_a_single_line_longer_than_the_limit_stays_whole():
    assert [len(chunk.text) for chunk in chunk_file("a.json", '{"a": "' + "x" * 5000 + '"}')] == [5009]


def test_an_expression_chained_thousands_of_times_is_cut():
    text = "x = (\n" + "    a +\n" * 20_000 + "    a)\n"
    check_cover(text, chunk_file("a.py", text))


def test_a_symbol_that_occurs_again_is_counted_in_the_id():
    text = f"def f():\n{BODY}def g():\n{BODY}def f():\n{BODY}"
    assert [document.id for document in documents_of(chunk_file("a.py", text))] == ["a.py#f", "a.py#g", "a.py#f~2"]


def test_an_id_holds_when_the_lines_move():
    text = f"def f():\n{BODY}"
    moved = f"'''{'words ' * 50}'''\n\n\n{text}"
    before, after = documents_of(chunk_file("a.py", text))[-1], documents_of(chunk_file("a.py", moved))[-1]
    assert (before.id, before.text) == (after.id, after.text)
    assert before.metadata["start_line"] != after.metadata["start_line"]


def test_a_document_tells_where_it_is_from():
    document = documents_of(chunk_file("p/a.py", f"def f():\n{BODY}"))[0]
    assert document.searchable_text.startswith("p/a.py f (a.f)\ndef f():")
    assert document.source == "p/a.py"
    assert dict(document.metadata) == {
        "title": "p/a.py f (a.f)",
        "path": "p/a.py",
        "language": "python",
        "symbol": "f",
        "kind": "function",
        "start_line": 1,
        "end_line": 11,
    }


@pytest.mark.parametrize(
    ("path", "symbol", "title"),
    [
        ("csv.py", "DictReader.__next__", "csv.py DictReader.__next__ (csv.DictReader.__next__)"),
        ("lib/csv.py", "reader, writer", "lib/csv.py reader, writer (csv.reader, csv.writer)"),
        ("json/__init__.py", "loads", "json/__init__.py loads (json.loads)"),
        ("__init__.py", "f", "__init__.py f (__init__.f)"),
        ("src/store/index.ts", "open", "src/store/index.ts open (store.open)"),
        ("Makefile", "all", "Makefile all (Makefile.all)"),
        ("csv.py", "", "csv.py"),
    ],
)
def test_a_title_names_a_symbol_as_programs_do(path, symbol, title):
    assert title_of(path, symbol) == title


@pytest.mark.parametrize(
    ("language", "text", "summary"),
    [
        ("python", '#!/usr/bin/env python\n# Copyright\n\n"""Read and write CSV.\n\nMore."""\n', "Read and write CSV."),
        ("python", "r'''Two\n   lines.'''\nimport os", "Two lines."),
        ("python", "'one line'\n", "one line"),
        ("python", 'import os\n"""not a docstring"""', ""),
        ("python", "'''Cut off here.\n\nIn the mid", "Cut off here."),
        ("python", '""""""', ""),
        ("rust", "//! Reads CSV.\n//! Writes it.\n//!\n//! More.\nuse std::io;", "Reads CSV. Writes it."),
        (
            "go",
            "// Copyright\n\n// Package csv reads and\n// writes CSV.\npackage csv\n",
            "Package csv reads and writes CSV.",
        ),
        ("go", "/*\nPackage csv reads CSV.\n\nMore.\n*/\npackage csv\n", "Package csv reads CSV."),
        ("go", "package csv\n", ""),
        ("java", "/* Licensed to the moon. */", ""),
        ("", "", ""),
    ],
)
def test_a_file_says_what_it_is_for(language, text, summary):
    assert summary_of(text, language) == summary


def test_a_long_summary_ends_with_a_whole_word():
    summary = summary_of(f'"""{"twelve chars " * 40}"""', "python")
    assert 180 < len(summary) <= 200
    assert summary.endswith(("chars", "twelve"))


def test_what_a_file_is_for_stands_in_the_title_of_each_piece_but_the_one_that_says_it():
    text = f'"""Read and write CSV."""\n\nimport os\n{BODY}\n\ndef f():\n{BODY}'
    first, *others = documents_of(chunk_file("a.py", text))
    assert first.metadata["title"] == "a.py"
    assert [document.metadata["title"] for document in others][-1] == "a.py f (a.f): Read and write CSV."


def test_a_section_is_titled_by_its_headings():
    text = "# Guide\n\nwords\n\n## Install, quickly\n\n" + "more words\n" * 200
    titles = [document.metadata["title"] for document in documents_of(chunk_file("docs/a.md", text))]
    assert titles[-1] == "docs/a.md Guide > Install, quickly"


def test_an_id_over_the_limit_is_shortened_and_stays_unique():
    name = "数" * 150
    text = f"def {name}a():\n{BODY}def {name}b():\n{BODY}"
    ids = [document.id for document in documents_of(chunk_file("p" * 200 + ".py", text))]
    assert len(set(ids)) == 2
    assert all(len(identity.encode()) <= 512 for identity in ids)


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a/b.PY", "", "python"),
        ("Makefile", "", "make"),
        ("run", "#!/usr/bin/env python3.11\n", "python"),
        ("run", "#!/bin/sh -e\n", "bash"),
        ("run", "words", ""),
        (".bashrc", "", ""),
        ("a.b/c", "", ""),
    ],
)
def test_the_language_is_told_by_name_or_first_line(path, text, language):
    assert language_of(path, text) == language


def test_a_limit_below_one_is_refused():
    with pytest.raises(InvalidInputError, match="max_chars=0"):
        chunk_file("a.py", "x", max_chars=0)


def test_code_without_tree_sitter_is_an_error_that_says_what_to_install():
    program = (
        "import sys; sys.modules['tree_sitter'] = None\n"
        "from qvec.code import chunk_file\nfrom qvec.errors import MissingDriverError\n"
        "assert chunk_file('a.md', '# T')\n"
        "try: chunk_file('a.py', 'x')\n"
        "except MissingDriverError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "qvec[code]"' in done.stdout
