"""Hits and progress as people see them."""

from __future__ import annotations

import io

from qvec.cli.progress import Progress
from qvec.cli.render import place, show_hits, snippet
from qvec.pipeline import IndexProgress
from qvec.types import Document, Hit, Leg


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def hit(text: str, **metadata: object) -> Hit:
    return Hit(Document("an-id", text, metadata), 0.5)


def test_a_snippet_is_the_run_of_lines_that_shares_most_words_with_the_query():
    text = "\n".join(["nothing here"] * 20 + ["def read_csv():", "    the rows"] + ["nothing here"] * 20)
    found = snippet(text, "read the rows", lines=3)
    assert "def read_csv():" in found.lines
    assert found.matching == {21, 22}


def test_a_snippet_without_any_match_is_the_beginning():
    assert snippet("\n\na\nb\nc\n", "zzz", lines=2) == (3, ["a", "b"], frozenset())


def test_the_line_of_a_hit_is_that_of_its_snippet_in_the_file():
    found = snippet("a\n" * 10 + "needle\n", "needle", lines=1)
    assert place(hit("", path="p.py", start_line=100), found) == ("p.py:110", 99)


def test_a_document_without_a_path_is_named_by_its_id(capsys):
    show_hits([hit("some words\nof text", title="A title")], "words")
    assert capsys.readouterr().out.startswith("  1  an-id  A title  0.5000\n   >     1 | some words\n")


def test_control_characters_of_a_document_do_not_reach_the_terminal(capsys):
    show_hits([hit("\x1b[31mred\x07 \u202eevil", path="a\x1b]0;b.py", start_line=1, symbol="s\x1b")], "red")
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_a_terminal_gets_colour_and_the_same_lines(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    show_hits([hit("def f():\n    return 1\n", path="a.py", start_line=5, language="python", symbol="f")], "return")
    assert "\x1b[" in terminal.getvalue()
    assert "a.py:5" in terminal.getvalue()


def test_progress_on_a_terminal_rewrites_one_line_and_clears_it():
    stream, times = Terminal(), iter([0.0, 0.01, 1.0, 2.0])
    with Progress(stream, clock=lambda: next(times)) as progress:
        for count in (1, 2, 3):
            progress(IndexProgress(count, count, count))
    assert stream.getvalue().count("\n") == 0
    assert stream.getvalue().count("embedded") == 2
    assert stream.getvalue().endswith("\r\x1b[K")


def test_progress_elsewhere_is_a_line_now_and_then():
    stream, times = io.StringIO(), iter([0.0, 5.0, 11.0, 12.0])
    with Progress(stream, clock=lambda: next(times)) as progress:
        for count in (1, 2_000, 3):
            progress(IndexProgress(count, count, count))
    assert stream.getvalue() == "read 2,000  embedded 2,000  written 2,000  182/s\n"


def test_an_explained_hit_shows_the_weight_of_a_leg_that_was_given_one(capsys):
    legs = (Leg("lexical", 1, 12.0, 0.5, weight=30.5), Leg("dense", 2, 0.6, 1 / 62))
    show_hits([Hit(Document("an-id", "words"), 0.5, legs)], "words", explain=True)
    shown = capsys.readouterr().out
    assert "lexical #1, score 12.0000, adds 0.5000 (weight 30.5)" in shown
    assert "dense #2, score 0.6000, adds 0.0161\n" in shown
