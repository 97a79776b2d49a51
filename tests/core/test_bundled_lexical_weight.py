"""The keyword leg's weight follows the query's script and its identifiers."""

import pytest

from qvec.lexical_weight import WEIGHTS, QueryKind, lexical_weight, query_kind


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("读取文件", QueryKind.CHINESE),
        ("读取CSV文件", QueryKind.MIXED),
        ("計算雜湊值", QueryKind.CHINESE),
        ("parse command line arguments", QueryKind.ENGLISH),
        ("how does read_csv work", QueryKind.NAMED),
        ("readCsv", QueryKind.NAMED),
        ("os.path.join", QueryKind.NAMED),
        ("ファイルを読む", QueryKind.OTHER),
        ("파일 읽기", QueryKind.OTHER),
        ("прочитать файл", QueryKind.OTHER),
        ("écrire un fichier", QueryKind.OTHER),
        ("", QueryKind.OTHER),
        ("404", QueryKind.OTHER),
        ("😀", QueryKind.OTHER),
    ],
)
def test_a_query_is_sorted_by_its_script_and_identifiers(query, kind):
    assert query_kind(query) is kind
    assert lexical_weight(query) == WEIGHTS[kind] >= 0


def test_only_the_bundled_model_leaves_other_languages_to_keywords():
    assert lexical_weight("прочитать файл") > lexical_weight("прочитать файл", model="Qwen/Qwen3-Embedding-0.6B")
    assert lexical_weight("read a file", model="Qwen/Qwen3-Embedding-0.6B") == 1.0
