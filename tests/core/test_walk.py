"""The walk over a source tree."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from qvec.code import Skipped, SourceFile, documents_from_path, walk
from qvec.errors import InvalidInputError
from qvec.types import Document


def put(root: Path, **files: str) -> None:
    """Write files; ``__`` in a name stands for a slash, ``_DOT_`` for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def read(root: Path, **options: object) -> list[str]:
    return [item.path for item in walk(root, **options) if isinstance(item, SourceFile)]


def skipped(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in walk(root) if isinstance(item, Skipped)}


def test_files_come_sorted_with_posix_paths_relative_to_the_root(tmp_path):
    put(tmp_path, b_DOT_py="b", a__z_DOT_py="z", a__y__x_DOT_md="x")
    assert read(tmp_path) == ["a/y/x.md", "a/z.py", "b.py"]


def test_a_single_file_is_its_own_root_whatever_its_name(tmp_path):
    put(tmp_path, data_DOT_csv="a,b\n")
    assert [item.path for item in walk(tmp_path / "data.csv")] == ["data.csv"]


def test_gitignore_of_the_root_and_of_a_folder_below_are_respected(tmp_path):
    put(
        tmp_path, _DOT_gitignore="*.log\n/only_top.py\nlogs/\n!keep.py\n", only_top_DOT_py="x", sub__only_top_DOT_py="x"
    )
    put(tmp_path, logs__a_DOT_py="x", sub__logs__a_DOT_py="x", sub__b_DOT_py="x", sub__keep_DOT_py="x")
    put(tmp_path, sub___DOT_gitignore="b.py\nkeep.py\n")
    assert read(tmp_path) == [".gitignore", "sub/.gitignore", "sub/only_top.py"]


def test_a_folder_below_can_take_back_what_the_root_ignores(tmp_path):
    put(tmp_path, _DOT_gitignore="*.gen.py\n", a_DOT_gen_DOT_py="x")
    put(tmp_path, sub___DOT_gitignore="!*.gen.py\n", sub__a_DOT_gen_DOT_py="x")
    assert "sub/a.gen.py" in read(tmp_path)
    assert "a.gen.py" not in read(tmp_path)


def test_the_repository_around_the_root_counts(tmp_path):
    put(tmp_path, _DOT_git__info__exclude="secret.py\n", _DOT_gitignore="*.tmp.py\n")
    put(tmp_path, sub__secret_DOT_py="x", sub__a_DOT_tmp_DOT_py="x", sub__b_DOT_py="x")
    assert read(tmp_path / "sub") == ["b.py"]
    assert ".git/info/exclude" not in read(tmp_path)


def test_a_root_that_its_repository_ignores_is_walked_all_the_same(tmp_path):
    put(tmp_path, _DOT_git__HEAD="x", _DOT_gitignore="/vendored\n", vendored__lib__a_DOT_py="x")
    assert read(tmp_path / "vendored" / "lib") == ["a.py"]


def test_folders_that_tools_write_are_not_entered(tmp_path):
    put(tmp_path, node_modules__a_DOT_js="x", _DOT_venv__lib_DOT_py="x", pkg_DOT_egg_DASH_info__x="x", main_DOT_py="x")
    os.rename(tmp_path / "pkg.egg_DASH_info", tmp_path / "pkg.egg-info")
    assert read(tmp_path) == ["main.py"]


def test_build_output_is_told_and_a_package_named_build_is_read(tmp_path):
    put(tmp_path, dist__a_DOT_js="x", src__build__a_DOT_py="x")
    (tmp_path / "src" / "build" / "__init__.py").write_text("x")
    assert read(tmp_path) == ["src/build/__init__.py", "src/build/a.py"]
    assert "build output" in skipped(tmp_path)["dist"]


def test_exclude_takes_patterns(tmp_path):
    put(tmp_path, tests__a_DOT_py="x", a_DOT_py="x", b_DOT_md="x")
    assert read(tmp_path, exclude=["tests/", "*.md"]) == ["a.py"]


def test_a_pattern_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="pattern"):
        list(walk(tmp_path, exclude=["!"]))


def test_a_gitignore_with_a_line_that_cannot_be_read_still_serves(tmp_path):
    put(tmp_path, _DOT_gitignore="!\n*.md\n", a_DOT_md="x", b_DOT_py="x")
    assert read(tmp_path) == [".gitignore", "b.py"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.bin", b"abc\0def", "binary"),
        ("a.txt", "读取".encode("gbk"), "not utf-8"),
        ("a.py", b"# coding: latin-1\n\xe9", None),
        ("b.py", b"# coding: nonsense\nx", "can be decoded|unknown encoding"),
        ("c.py", b"\xff\xfa x", "can be decoded|not utf-8"),
        ("a.md", b"", "empty"),
        ("b.md", b" \n\n", "empty"),
        ("big.txt", b"x" * 1_000_001, "over the limit"),
        (".env", b"PASSWORD=hunter2", "secrets"),
        ("server.pem", b"x", "secrets"),
        ("app.min.js", b"x", "generated"),
        ("uv.lock", b"x", "generated"),
    ],
)
def test_what_is_not_read_is_reported_with_its_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    if reason is None:
        assert read(tmp_path) == [name]
    else:
        assert re.search(reason, skipped(tmp_path)[name])


def test_byte_order_marks_are_taken_off(tmp_path):
    (tmp_path / "a.md").write_bytes(b"\xef\xbb\xbf# t")
    (tmp_path / "b.md").write_bytes("# 标题".encode("utf-16"))
    assert [item.text for item in walk(tmp_path)] == ["# t", "# 标题"]


def test_a_python_cookie_decides_the_encoding(tmp_path):
    (tmp_path / "a.py").write_bytes("# -*- coding: gbk -*-\nx = '读取'\n".encode("gbk"))
    assert "读取" in next(iter(walk(tmp_path))).text


def test_links_are_reported_and_loops_end(tmp_path):
    put(tmp_path, a__b_DOT_py="x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "dangling").symlink_to(tmp_path / "nowhere")
    assert read(tmp_path) == ["a/b.py"]
    assert set(skipped(tmp_path)) == {"a/loop", "a/dangling"}


def test_pipes_do_not_block_the_walk(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert skipped(tmp_path) == {"pipe": "not a regular file"}


def test_a_missing_root_is_an_error_at_the_call(tmp_path):
    with pytest.raises(InvalidInputError, match="does not exist"):
        walk(tmp_path / "none")


def test_the_walk_is_lazy(tmp_path):
    put(tmp_path, a_DOT_py="x", b_DOT_py="x")
    files = walk(tmp_path)
    next(files)
    (tmp_path / "b.py").write_text("changed")
    assert next(files).text == "changed"


def test_documents_of_a_tree_share_the_file_as_source_and_have_their_own_ids(tmp_path):
    put(tmp_path, a_DOT_py="def f():\n    pass\n" * 300, empty_DOT_py="")
    found = list(documents_from_path(tmp_path))
    documents = [item for item in found if isinstance(item, Document)]
    assert {document.source for document in documents} == {"a.py"}
    assert len({document.id for document in documents}) == len(documents) > 1
    assert [item.path for item in found if isinstance(item, Skipped)] == ["empty.py"]


def test_a_file_name_that_is_not_utf8_is_reported(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.py"), "wb") as file:
        file.write(b"x = 1")
    found = list(documents_from_path(tmp_path))
    assert [item.reason for item in found] == ["its path is not UTF-8"]


def test_a_minified_program_is_reported_and_a_long_paragraph_is_read(tmp_path):
    put(tmp_path, bundle_DOT_js="x=1;" * 10_000, novel_DOT_txt="One sentence. " * 3_000)
    bundle, novel = documents_from_path(tmp_path)
    assert bundle == Skipped("bundle.js", "a line of 40,000 characters: minified, or data")
    assert isinstance(novel, Document)
