"""Which language a file is in, and what the grammars call a definition."""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["function", "class", "module", "section"]

_BY_SUFFIX = {
    "python": "py pyi pyw",
    "javascript": "js jsx mjs cjs",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "java": "java",
    "go": "go",
    "rust": "rs",
    "c": "c h",
    "cpp": "cc cpp cxx hh hpp hxx cu cuh ino",
    "csharp": "cs",
    "ruby": "rb rake gemspec",
    "php": "php",
    "kotlin": "kt kts",
    "swift": "swift",
    "scala": "scala sc",
    "bash": "sh bash zsh",
    "sql": "sql",
    "html": "html htm xhtml",
    "css": "css",
    "scss": "scss",
    "json": "json",
    "yaml": "yaml yml",
    "toml": "toml",
    "xml": "xml xsd svg",
    "lua": "lua",
    "perl": "pl pm",
    "r": "r",
    "julia": "jl",
    "haskell": "hs",
    "elixir": "ex exs",
    "dart": "dart",
    "zig": "zig",
    "ocaml": "ml",
    "clojure": "clj cljs",
    "groovy": "groovy gradle",
    "proto": "proto",
    "hcl": "tf hcl",
    "cmake": "cmake",
    "nix": "nix",
    "powershell": "ps1 psm1",
    "vue": "vue",
    "svelte": "svelte",
    "markdown": "md markdown mdx",
    "rst": "rst",
    "text": "txt text adoc org tex",
}
_SUFFIXES = {suffix: language for language, suffixes in _BY_SUFFIX.items() for suffix in suffixes.split()}
_NAMES = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "dockerfile",
    "cmakelists.txt": "cmake",
    "gemfile": "ruby",
    "rakefile": "ruby",
    "readme": "text",
    "license": "text",
    "copying": "text",
    "notice": "text",
}
_SHEBANGS = {"python": "python", "bash": "bash", "sh": "bash", "zsh": "bash", "node": "javascript", "ruby": "ruby"}

PROSE = frozenset({"markdown", "rst", "text", ""})
"""Languages that are cut without a grammar; the empty one is an unknown language."""

DATA = frozenset({"json", "yaml", "toml", "xml", "html", "css", "scss"})
"""Languages without functions: their pieces are sections."""

_FUNCTIONS = """
    function_definition function_declaration generator_function_declaration method_definition method_declaration
    constructor_declaration compact_constructor_declaration destructor_declaration operator_declaration
    conversion_operator_declaration local_function_statement function_item macro_definition method singleton_method
    init_declaration deinit_declaration subscript_declaration secondary_constructor protocol_function_declaration
    create_function create_procedure create_trigger given_definition preproc_function_def abstract_method_signature
"""
_CLASSES = """
    class_definition class_declaration abstract_class_declaration interface_declaration enum_declaration
    record_declaration struct_declaration annotation_type_declaration struct_item enum_item union_item trait_item
    impl_item class_specifier struct_specifier enum_specifier union_specifier type_definition class trait_declaration
    protocol_declaration object_declaration companion_object object_definition trait_definition enum_definition
    type_declaration create_table create_view create_materialized_view create_type
"""
_NAMESPACES = "namespace_definition namespace_declaration internal_module module mod_item"

KINDS: dict[str, Kind] = {
    **dict.fromkeys(_FUNCTIONS.split(), "function"),
    **dict.fromkeys(_CLASSES.split(), "class"),
    **dict.fromkeys(_NAMESPACES.split(), "module"),
}
"""Node type -> kind of definition. One table serves all grammars: where they share a name, they mean the same."""

_WRAPPERS = """
    decorated_definition export_statement template_declaration ambient_declaration expression_statement statement
    lexical_declaration variable_declaration
"""
WRAPPERS = frozenset(_WRAPPERS.split())
"""Nodes that stand around a definition and belong to it."""

BINDINGS = {
    "variable_declarator": ("name", "value"),
    "field_definition": ("property", "value"),
    "public_field_definition": ("name", "value"),
    "assignment_expression": ("left", "right"),
}
"""Node type -> fields of the name and of the value that may be a function: ``const f = () => {}``."""

FUNCTION_VALUES = frozenset({"arrow_function", "function_expression", "generator_function"})

_TRANSPARENT = """
    if_statement try_statement elif_clause else_clause except_clause finally_clause with_statement block
    preproc_if preproc_ifdef preproc_else preproc_elif linkage_specification declaration_list foreign_mod_item
    script_element body_statement statement_block
"""
TRANSPARENT = frozenset(_TRANSPARENT.split())
"""Nodes that are looked into for definitions whatever their size."""

UNNAMED = {
    "init_declaration": "init",
    "deinit_declaration": "deinit",
    "subscript_declaration": "subscript",
    "companion_object": "Companion",
    "secondary_constructor": "constructor",
}


def language_of(path: str, text: str = "") -> str:
    """Name a file's language by its name, else by its ``#!`` line; empty when neither tells.

    Args:
        path: with POSIX separators.
        text: the file's beginning is enough.
    """
    name = path.rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    found = _NAMES.get(name) or (_SUFFIXES.get(suffix, "") if dot and stem else "")
    if found or not text.startswith("#!"):
        return found
    command = text.split("\n", 1)[0].removeprefix("#!").replace("/", " ").split()
    return next((_SHEBANGS[word] for raw in command if (word := raw.rstrip("0123456789.")) in _SHEBANGS), "")
