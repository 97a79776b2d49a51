"""``qvec search``."""

from __future__ import annotations

import json

import pytest

from tests.core.rerank_endpoint import RerankEndpoint


def test_hits_show_file_line_symbol_and_the_matching_lines(indexed):
    result = indexed("search", "call with retries", "-k", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("  1  net/retry.py:4  call_with_retries")
    assert "   >     4 | def call_with_retries(call, times):" in result.stdout


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_a_chinese_query_finds_a_chinese_docstring(indexed, mode):
    hits = json.loads(indexed("search", "读取CSV文件", "--mode", mode, "--json").stdout)["hits"]
    assert hits[0]["id"] == "reader.py#read_csv"


def test_json_holds_the_legs_and_the_metadata(indexed):
    found = json.loads(indexed("search", "retries", "-k", "2", "--json").stdout)
    assert (found["query"], found["collection"], found["mode"]) == ("retries", "my_project", "hybrid")
    assert found["hits"][0]["metadata"]["path"] == "net/retry.py"
    assert {leg["name"] for leg in found["hits"][0]["legs"]} == {"dense", "lexical"}


def test_explain_tells_each_leg_s_rank(indexed):
    assert "lexical #1, score" in indexed("search", "retries", "--explain").stdout


@pytest.mark.parametrize("query", ["'; DROP TABLE x; --", '"quoted"', "100% _like_ \\", "🎈", "שלום", "--", "a" * 5000])
def test_any_query_is_only_a_query(indexed, query):
    result = indexed("search", "--json", "--", query)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["query"] == query


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_an_error(indexed, query):
    result = indexed("search", query)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the query is empty" in result.stderr


def test_where_filters(indexed):
    found = json.loads(indexed("search", "retries", "--where", "language = 'markdown'", "--json").stdout)
    assert [hit["source"] for hit in found["hits"]] == ["README.md"]


def test_a_filter_that_cannot_be_read_is_an_error(indexed):
    result = indexed("search", "retries", "--where", "language ~ 'x'")
    assert result.exit_code == 1
    assert "filter" in result.stderr


def test_no_hits_are_said_on_stderr_and_are_no_failure(indexed):
    result = indexed("search", "retries", "--where", "language = 'cobol'")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no hits in my_project\n")
    result = indexed("search", "retries", "--where", "language = 'cobol'", "--json")
    assert json.loads(result.stdout)["hits"] == []


def test_offset_goes_on_where_the_first_page_ended(indexed):
    every = json.loads(indexed("search", "retries", "--json").stdout)["hits"]
    rest = json.loads(indexed("search", "retries", "--offset", "1", "-k", "2", "--json").stdout)["hits"]
    assert [hit["id"] for hit in rest] == [hit["id"] for hit in every[1:3]]


def test_the_cursor_goes_on_where_the_first_page_ended(indexed):
    every = json.loads(indexed("search", "retries", "--json").stdout)["hits"]
    first = json.loads(indexed("search", "retries", "-k", "1", "--json").stdout)
    rest = json.loads(indexed("search", "retries", "-k", "2", "--cursor", first["cursor"], "--json").stdout)
    assert [hit["id"] for hit in first["hits"] + rest["hits"]] == [hit["id"] for hit in every[:3]]
    result = indexed("search", "other words", "--cursor", first["cursor"])
    assert result.exit_code == 1
    assert "another search" in result.stderr


def test_fusion_is_chosen_on_the_command_line(indexed):
    options = ("--fusion", "linear", "--scaling", "z-score", "--weight", "dense=0", "--weight", "lexical=1")
    hit = json.loads(indexed("search", "retries", *options, "--json").stdout)["hits"][0]
    assert hit["relevance"] == 1
    assert [leg["contribution"] for leg in hit["legs"] if leg["name"] == "dense"] == [0.0]
    flat = json.loads(indexed("search", "retries", "--rank-constant", "0", "--window", "0", "--json").stdout)["hits"]
    assert max(leg["contribution"] for hit in flat for leg in hit["legs"]) == 1.0


def test_hits_can_be_dropped_grouped_and_spread(indexed):
    every = json.loads(indexed("search", "retries", "--json").stdout)["hits"]
    grouped = json.loads(indexed("search", "retries", "--group-by", "source", "--json").stdout)["hits"]
    assert [hit["source"] for hit in grouped] == list(dict.fromkeys(hit["source"] for hit in every))
    assert sum(hit["chunks"] for hit in grouped) == len(every)
    bar = json.loads(indexed("search", "retries", "--min-score", "1", "--json").stdout)["hits"]
    assert [hit["id"] for hit in bar] == [hit["id"] for hit in every if hit["relevance"] == 1]
    spread = json.loads(indexed("search", "retries", "--diversity", "0.5", "--json").stdout)["hits"]
    assert sorted(hit["id"] for hit in spread) == sorted(hit["id"] for hit in every)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fusion", "weighted"),
        ("--weight", "dense"),
        ("--weight", "dense=much"),
        ("--min-score", "2"),
        ("--diversity", "-1"),
        ("--group-by", "path"),
        ("--rank-constant", "-1"),
        ("--window", "-1"),
    ],
)
def test_an_option_out_of_range_is_wrong_usage(qvec, arguments):
    assert qvec("search", "words", *arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [("--weight", "sparse=1"), ("--cursor", "?"), ("--cursor", "a", "--offset", "1")])
def test_what_the_search_refuses_is_said(indexed, arguments):
    result = indexed("search", "words", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")


def test_without_any_collection_the_error_says_how_to_make_one(qvec):
    result = qvec("search", "words")
    assert result.exit_code == 1
    assert "qvec index PATH" in result.stderr


def test_with_several_collections_the_error_names_them(indexed, project):
    indexed("index", project, "--collection", "other")
    result = indexed("search", "words")
    assert result.exit_code == 1
    assert "my_project | other" in result.stderr
    assert indexed("search", "words", "--collection", "other").exit_code == 0


def test_a_collection_that_is_not_there_is_an_error(indexed):
    result = indexed("search", "words", "--collection", "none")
    assert result.exit_code == 1
    assert "none" in result.stderr


def test_another_dim_is_an_error_that_names_both(indexed):
    result = indexed("search", "words", "--dim", "64")
    assert result.exit_code == 1
    assert "64" in result.stderr
    assert "256" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("search",), ("search", "x", "-k", "0"), ("search", "x", "--mode", "fuzzy"), ("serch",)]
)
def test_wrong_usage_leaves_with_2(qvec, arguments):
    assert qvec(*arguments).exit_code == 2


def test_rerank_orders_the_hits_anew_and_explain_tells_what_was_not_scored(indexed):
    with RerankEndpoint() as endpoint:
        words = ["search", "retries", "--rerank", f"rerank:{endpoint.name}", "--rerank-depth", "1"]
        shown = indexed(*words, "--explain").stdout
        found = json.loads(indexed(*words, "--json").stdout)["hits"]
    assert "rerank #1, score 1.0000" in shown
    assert "rerank not scored: below the first 1 hits" in shown
    assert [hit["legs"][-1]["name"] for hit in found] == ["rerank"] * len(found)
    assert found[0]["score"] == 1.0


def test_a_reranker_that_cannot_be_reached_is_an_error(indexed):
    result = indexed("search", "retries", "--rerank", "rerank:x@http://127.0.0.1:9/v1")
    assert result.exit_code == 1
    assert "start the server" in result.stderr
