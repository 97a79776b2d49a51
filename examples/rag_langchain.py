"""Answer questions from a folder of text files with LangChain: load, index, retrieve, assemble the prompt.

    python examples/rag_langchain.py [--folder FOLDER] [--database faiss:rag_langchain]

A model that always says the same stands in for the chat model: put yours in its place. Nothing is downloaded. The
record manager forgets at the end what was indexed: put LangChain's `SQLRecordManager` in its place, and a later run
deletes what is gone from the folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from qvec.integrations.langchain import QvecEmbeddings, QvecRetriever, QvecVectorStore

HANDBOOK = {
    "holidays.txt": "Everyone has thirty days of holiday a year.\n\nUnused days expire at the end of March.",
    "expenses.txt": "Train tickets are paid back within a week.\n\nTaxis need a reason, flights an approval.",
    "服务器.txt": "生产服务器每周二凌晨重启。\n\n日志保留三十天，之后自动删除。",
}
QUESTIONS = ("How many days of vacation do I get?", "日志会保留多久？", "Do I get my train fare back?")
PROMPT = ChatPromptTemplate.from_template(
    "Answer from these notes alone:\n\n{context}\n\nQuestion: {question}\nName the file that says so."
)


def paragraphs(folder: Path) -> Iterator[Document]:
    for path in sorted(folder.rglob("*.txt")):
        for text in path.read_text(encoding="utf-8").split("\n\n"):
            if text.strip():
                yield Document(page_content=text, metadata={"source": path.name})


def as_notes(documents: list[Document]) -> str:
    return "\n".join(f"[{document.metadata['source']}] {document.page_content}" for document in documents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="of .txt files; without it, a small handbook is written")
    parser.add_argument("--database", default="faiss:rag_langchain")
    options = parser.parse_args()
    folder = options.folder or write_handbook(Path("handbook"))

    shelf = QvecVectorStore.connect(options.database, "handbook", embedding=QvecEmbeddings())
    records = InMemoryRecordManager("handbook")
    records.create_schema()
    report = index(paragraphs(folder), records, shelf, cleanup="full", source_id_key="source", key_encoder="sha256")
    print(f"{report['num_added']} paragraphs added, {report['num_skipped']} unchanged")

    retriever = QvecRetriever(vectorstore=shelf, k=2)
    model = FakeListChatModel(responses=["(here your chat model answers)"])
    for question in QUESTIONS:
        prompt = PROMPT.invoke({"context": as_notes(retriever.invoke(question)), "question": question})
        print(f"\n{prompt.messages[0].content}\n-> {(model | StrOutputParser()).invoke(prompt)}")
    shelf.close()


def write_handbook(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in HANDBOOK.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
