"""The words around a text: presets, sentences, a model's own prompts."""

from __future__ import annotations

import pytest

from qvec.embedders.instructions import PRESETS, QWEN3_QUERY, Prompts, prompts_from, sentence_of
from qvec.errors import InvalidInputError

QWEN = {
    "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    "document": "",
}
E5 = {"query": "query: ", "passage": "passage: "}


def test_a_qwen3_query_is_the_published_template_without_a_space():
    prefix = prompts_from(QWEN).query_prefix(None)
    assert prefix + "What is the capital of China?" == (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
        "Query:What is the capital of China?"
    )


def test_a_qwen3_folder_without_prompts_gets_the_same_template():
    assert prompts_from({}, qwen3=True).query_prefix(None) == QWEN["query"]


def test_a_model_that_writes_a_space_after_query_keeps_it():
    mistral = prompts_from({"query": "Instruct: Find passages\nQuery: "})
    assert mistral.query_prefix("Find code") == "Instruct: Find code\nQuery: "


def test_a_preset_and_its_sentence_are_one_instruction():
    prompts = prompts_from(QWEN)
    assert prompts.query_prefix("code_search") == prompts.query_prefix(PRESETS["code_search"])
    assert prompts.query_prefix("code_search") == QWEN3_QUERY.replace("{task}", PRESETS["code_search"])


def test_braces_and_line_ends_in_an_instruction_stay_as_they_are():
    assert prompts_from(QWEN).query_prefix("Find {task} and {x}") == "Instruct: Find {task} and {x}\nQuery:"


def test_a_chinese_sentence_without_spaces_is_an_instruction():
    assert "查找实现该功能的代码" in prompts_from(QWEN).query_prefix("查找实现该功能的代码")


def test_a_misspelt_preset_is_refused_and_the_nearest_offered():
    with pytest.raises(InvalidInputError, match="did you mean code_search"):
        prompts_from(QWEN).query_prefix("code-serch")


@pytest.mark.parametrize("instruction", ["", "  \n", 7, "a\0b c", "a \ud800 b"])
def test_what_is_no_sentence_is_refused(instruction):
    with pytest.raises(InvalidInputError):
        sentence_of(instruction)


def test_fixed_prefixes_of_queries_and_passages_are_read():
    prompts = prompts_from(E5)
    assert (prompts.query_prefix(None), prompts.document) == ("query: ", "passage: ")


def test_a_model_without_instructions_answers_a_preset_with_its_query_prefix():
    assert prompts_from(E5).query_prefix("code_search") == "query: "


def test_a_model_without_instructions_refuses_a_sentence():
    with pytest.raises(InvalidInputError, match="takes no instruction"):
        prompts_from(E5).query_prefix("Find the code that does it")


def test_a_prompt_that_the_model_names_can_be_asked_for():
    prompts = prompts_from({"query": "search_query: ", "document": "search_document: ", "clustering": "clustering: "})
    assert prompts.query_prefix("clustering") == "clustering: "


def test_the_default_prompt_stands_in_for_missing_ones():
    prompts = prompts_from({"retrieval": "represent: "}, default="retrieval")
    assert (prompts.query_prefix(None), prompts.document) == ("represent: ", "represent: ")


def test_the_digest_follows_the_templates_and_not_the_task():
    assert prompts_from(QWEN).digest == prompts_from({"query": "Instruct: Find code\nQuery:"}).digest
    assert prompts_from(QWEN).digest != prompts_from(E5).digest
    assert Prompts("a", "b").digest != Prompts("ab", "").digest
