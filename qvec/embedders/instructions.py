"""What is said to a model besides the text: query instructions, their presets, and fixed prefixes.

Qwen3's query is ``Instruct: {task}\\nQuery:{query}`` with no space after ``Query:``; its documents go bare.
Instructions are English, as Qwen recommends for texts of every language.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from qvec.checks import string_fault
from qvec.errors import InvalidInputError

DEFAULT_PRESET = "web_search"
PRESETS: Mapping[str, str] = MappingProxyType(
    {
        "web_search": "Given a web search query, retrieve relevant passages that answer the query",
        "code_search": "Given a description of what code should do, retrieve the code that does it",
        "similar_code": "Given a piece of code, retrieve code that does the same",
        "question_answering": "Given a question, retrieve passages that answer the question",
        "fact_checking": "Given a claim, retrieve passages that support or refute the claim",
        "similarity": "Given a text, retrieve texts of the same meaning",
        "translation": "Given a text, retrieve its translations into other languages",
        "classification": "Given a text, retrieve texts of the same category",
        "clustering": "Given a text, retrieve texts on the same topic",
    }
)
"""Name -> the English sentence that it stands for."""

TASK = "{task}"
QWEN3_QUERY = f"Instruct: {TASK}\nQuery:"
_INSTRUCTED = re.compile(r"(?P<before>Instruct: )(?P<task>[^\n]+)(?P<after>\n ?Query: ?)")
_WORD = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prefixes of one model.

    Attributes:
        query: before a query; ``{task}`` in it is where the instruction goes.
        document: before a document.
        task: the instruction when the caller gives none; empty for a model that takes none.
        named: prefixes that the model's author gave names to, to be asked for instead of an instruction.
    """

    query: str = ""
    document: str = ""
    task: str = ""
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_instructions(self) -> bool:
        """Whether the query's prefix has a place for an instruction."""
        return TASK in self.query

    @property
    def digest(self) -> str:
        """Hash of the two templates; the task's text is no part of it, because documents do not depend on it."""
        return hashlib.sha256(f"{self.query}\0{self.document}".encode()).hexdigest()[:16]

    def query_prefix(self, instruction: str | None) -> str:
        """Return what goes before a query.

        Args:
            instruction: a preset's name, a sentence, the name of one of the model's own prompts, or None. A model that
                takes no instruction answers a preset with its own query prefix, and refuses a sentence.

        Raises:
            InvalidInputError: the instruction is empty, a word that names nothing, or a sentence that would be lost.
        """
        if instruction is None:
            return self.query.replace(TASK, self.task)
        if instruction in self.named:
            return self.named[instruction]
        sentence = sentence_of(instruction, also=self.named)
        if self.takes_instructions:
            return self.query.replace(TASK, sentence)
        if instruction in PRESETS:
            return self.query
        raise InvalidInputError(
            f"this model takes no instruction, so {instruction!r} would be lost: leave it out"
            + (f", or name one of its prompts: {', '.join(self.named)}" if self.named else "")
        )


def sentence_of(instruction: str, *, also: Mapping[str, str] = MappingProxyType({})) -> str:
    """Turn a preset's name or a sentence into the sentence.

    Args:
        instruction: the name or sentence.
        also: further names to offer when a word names nothing.

    Raises:
        InvalidInputError: it is empty, no string, or a single word that is no preset.
    """
    if not isinstance(instruction, str) or not instruction.strip():
        raise InvalidInputError(
            f"{instruction!r} is no instruction: give a preset ({', '.join(PRESETS)}) or a sentence"
        )
    if instruction in PRESETS:
        return PRESETS[instruction]
    if _WORD.fullmatch(instruction):
        names = [*PRESETS, *also]
        near = difflib.get_close_matches(instruction, names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise InvalidInputError(
            f"unknown instruction {instruction!r}{hint} Presets: {', '.join(names)}; or give a sentence"
        )
    fault = string_fault(instruction)
    if fault:
        raise InvalidInputError(f"the instruction {fault}")
    return instruction


def with_default(prompts: Prompts, instruction: str | None) -> Prompts:
    """Return prompts whose queries have this instruction when the caller gives none; None changes nothing.

    Raises:
        InvalidInputError: the instruction names nothing, or the model takes none.
    """
    if instruction is None:
        return prompts
    if prompts.takes_instructions and instruction not in prompts.named:
        return replace(prompts, task=sentence_of(instruction, also=prompts.named))
    return replace(prompts, query=prompts.query_prefix(instruction))


def prompts_from(named: Mapping[str, str], *, default: str | None = None, qwen3: bool = False) -> Prompts:
    """Read a model's prompts as sentence-transformers stores them.

    Args:
        named: prompt name -> prefix.
        default: the name of the prompt that stands in for a missing query or document prompt.
        qwen3: the model is a Qwen3, whose template holds when it names none.
    """
    fallback = named.get(default, "") if default else ""
    query = named.get("query", fallback)
    document = next((named[name] for name in ("document", "passage", "corpus") if name in named), fallback)
    if not query and qwen3:
        query = QWEN3_QUERY.replace(TASK, PRESETS[DEFAULT_PRESET])
    found = _INSTRUCTED.fullmatch(query)
    others = {name: text for name, text in named.items() if text and name != "query"}
    if found is None:
        return Prompts(query, document, named=others)
    return Prompts(found["before"] + TASK + found["after"], document, task=found["task"], named=others)
