"""The keyword leg's weight follows the query's script and what both legs answer."""

import math

import pytest

import qvec
from qvec.errors import InvalidInputError
from qvec.evidence import Evidence
from qvec.fusion import FusionSpec
from qvec.lexical_weight import EVIDENCE, SCORES, QueryKind, query_kind, weighed

FLAT = [12.0, 11.9, 11.8, 11.7, 11.6]
AHEAD = [30.0, 12.0, 10.0, 9.0, 8.0]
NEAR = [0.5 - 0.0005 * at for at in range(100)]
WIDE = [0.7 - 0.003 * at for at in range(100)]


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
        ("écrire un fichier", QueryKind.EUROPEAN),
        ("Liste alle Dateien auf", QueryKind.EUROPEAN),
        ("Lista todas las reglas", QueryKind.EUROPEAN),
        ("mostra os arquivos de `read_csv`", QueryKind.EUROPEAN),
        ("créer fichier", QueryKind.OTHER),
        ("run du on the NAS, then su", QueryKind.ENGLISH),
        ("open http://www.example.com/la/de", QueryKind.NAMED),
        ("", QueryKind.OTHER),
        ("404", QueryKind.OTHER),
        ("😀", QueryKind.OTHER),
    ],
)
def test_a_query_is_sorted_by_its_script_its_function_words_and_identifiers(query, kind):
    assert query_kind(query) is kind


def weight(query: str, lexical: list[float], dense: list[float], model: str = "bundled") -> float:
    return weighed(FusionSpec(), query, model=model).settled(lexical, dense).weight("lexical")


@pytest.mark.parametrize("query", ["读取CSV文件", "parse command line arguments", "how does read_csv work"])
def test_keywords_count_where_they_stand_out_and_meaning_does_not(query):
    assert weight(query, AHEAD, NEAR) > 10
    assert weight(query, FLAT, WIDE) < 0.1
    assert weight(query, FLAT, WIDE) <= weight(query, AHEAD, WIDE) <= weight(query, AHEAD, NEAR)
    assert weight(query, FLAT, WIDE) <= weight(query, FLAT, NEAR) <= weight(query, AHEAD, NEAR)


@pytest.mark.parametrize("evidence", EVIDENCE.values())
def test_the_weight_stays_within_its_bounds(evidence):
    assert evidence.weight([900.0], [1.0]) == pytest.approx(evidence.most)
    assert evidence.weight([1e-9] * 5, [1.0, *[-1.0] * 99]) == pytest.approx(evidence.least)
    assert evidence.least <= evidence.weight([], []) <= evidence.most * (1 + 1e-12)


def test_hits_behind_those_that_are_compared_change_nothing():
    for evidence in EVIDENCE.values():
        assert evidence.weight(AHEAD, NEAR) == evidence.weight([*AHEAD, 0.5], [*NEAR, 0.0])


def test_only_the_bundled_model_leaves_other_languages_to_keywords():
    assert weight("прочитать файл", FLAT, WIDE) == 100
    assert weight("прочитать файл", FLAT, WIDE, model="Qwen/Qwen3-Embedding-0.6B") == 1
    assert weight("read a file", AHEAD, NEAR, model="Qwen/Qwen3-Embedding-0.6B") == 1


@pytest.mark.parametrize("numbers", [{"base": math.nan}, {"base": 0, "drop": math.inf}, {"base": 0, "least": 0}])
def test_impossible_evidence_is_refused(numbers):
    with pytest.raises(InvalidInputError):
        Evidence(**numbers)


@pytest.mark.parametrize("query", ["读取CSV文件", "parse command line arguments", "how does read_csv work"])
def test_scores_are_added_unless_ranks_are_asked_for(query):
    how = weighed(FusionSpec(), query, free=True)
    assert (how.method, how.scaling) == ("linear", "raw")
    ahead, flat = [9.0, *[6.0] * 60], [9.0] * 61
    assert how.settled(ahead, NEAR).weight("lexical") > how.settled(ahead, WIDE).weight("lexical")
    assert how.settled(ahead, WIDE).weight("lexical") > how.settled(flat, WIDE).weight("lexical")
    assert weighed(FusionSpec(), query).method == "rrf"


@pytest.mark.parametrize("evidence", SCORES.values())
def test_one_rare_word_in_a_collection_of_two_documents_weighs_less_than_a_clear_likeness(evidence):
    rare = 0.7
    assert evidence.weight([rare], [0.6, 0.2]) * rare < 0.6 - 0.2


@pytest.mark.parametrize(
    ("texts", "query"),
    [
        (["巴黎是法国的首都。", "Berlin is the capital of Germany."], "法国的首都是哪里"),
        (["Berlin is the capital of Germany.", "巴黎是法国的首都。"], "capital of Germany"),
        (["read a csv file", "open a socket", "sort a list"], "读取CSV文件"),
        (["open a socket", "read a csv file"], "打开套接字"),
        (["Berlin is the capital of Germany."], "the capital of Germany"),
    ],
)
def test_of_a_few_documents_the_right_one_is_first_with_a_high_relevance(tmp_path, texts, query):
    with qvec.connect(f"faiss:{tmp_path}") as db:
        notes = db.collection("notes")
        notes.index(texts)
        best, *others = notes.search(query, k=3)
        (alone,) = notes.search(query, k=1)
    assert best.text == texts[0]
    assert (alone.id, alone.relevance) == (best.id, best.relevance)
    assert best.relevance > 0.5
    assert all(other.relevance < best.relevance for other in others)
