"""Answer questions from a folder of text files with Haystack: one pipeline that indexes, one that answers.

    python examples/rag_haystack.py [--folder FOLDER] [--database faiss:rag_haystack]

The prompt is where your chat model comes in. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")  # is read when haystack is imported

from haystack import Document, Pipeline
from haystack.components.builders import PromptBuilder
from haystack.components.writers import DocumentWriter
from haystack.document_stores.types import DuplicatePolicy

from qvec.integrations.haystack import (
    QvecDocumentEmbedder,
    QvecDocumentStore,
    QvecRetriever,
    QvecTextEmbedder,
)

HANDBOOK = {
    "holidays.txt": "Everyone has thirty days of holiday a year.\n\nUnused days expire at the end of March.",
    "expenses.txt": "Train tickets are paid back within a week.\n\nTaxis need a reason, flights an approval.",
    "服务器.txt": "生产服务器每周二凌晨重启。\n\n日志保留三十天，之后自动删除。",
}
QUESTIONS = ("How many days of vacation do I get?", "日志会保留多久？", "Do I get my train fare back?")
PROMPT = """Answer from these notes alone:
{% for note in notes %}
[{{ note.meta["file"] }}] {{ note.content }}{% endfor %}

Question: {{ question }}
Name the file that says so."""


def indexing(shelf: QvecDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", QvecDocumentEmbedder())
    pipeline.add_component("writer", DocumentWriter(shelf, policy=DuplicatePolicy.OVERWRITE))
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def asking(shelf: QvecDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", QvecTextEmbedder())
    pipeline.add_component("retriever", QvecRetriever(shelf, top_k=2))
    pipeline.add_component("prompt", PromptBuilder(PROMPT, required_variables="*"))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "prompt.notes")
    return pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="of .txt files; without it, a small handbook is written")
    parser.add_argument("--database", default="faiss:rag_haystack")
    options = parser.parse_args()
    folder = options.folder or write_handbook(Path("handbook"))

    shelf = QvecDocumentStore(options.database, "handbook")
    notes = [
        Document(content=text, meta={"file": path.name})
        for path in sorted(folder.rglob("*.txt"))
        for text in path.read_text(encoding="utf-8").split("\n\n")
    ]
    written = indexing(shelf).run({"embedder": {"documents": notes}})["writer"]["documents_written"]
    print(f"{written} paragraphs written")

    pipeline = asking(shelf)
    for question in QUESTIONS:
        given = {"embedder": {"text": question}, "retriever": {"query": question}, "prompt": {"question": question}}
        print(f"\n{pipeline.run(given)['prompt']['prompt']}\n-> (here your chat model answers)")
    shelf.close()


def write_handbook(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in HANDBOOK.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
