"""Answer questions from a folder of text files with LlamaIndex: read, cut, index, retrieve, assemble the prompt.

    python examples/rag_llamaindex.py [--folder FOLDER] [--database faiss:rag_llamaindex]

LlamaIndex's mock model, which repeats its prompt, stands in for the chat model: put yours in its place. Nothing is
downloaded. A second run writes only what has changed in the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore

from qvec.integrations.llamaindex import QvecEmbedding, QvecVectorStore

HANDBOOK = {
    "holidays.txt": "Everyone has thirty days of holiday a year. Unused days expire at the end of March.",
    "expenses.txt": "Train tickets are paid back within a week. Taxis need a reason, flights an approval.",
    "服务器.txt": "生产服务器每周二凌晨重启。日志保留三十天，之后自动删除。",
}
QUESTIONS = ("How many days of vacation do I get?", "日志会保留多久？", "Do I get my train fare back?")
SEEN = Path("rag_llamaindex.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="of text files; without it, a small handbook is written")
    parser.add_argument("--database", default="faiss:rag_llamaindex")
    options = parser.parse_args()
    folder = options.folder or write_handbook(Path("handbook"))

    model = QvecEmbedding()
    shelf = QvecVectorStore.connect(options.database, "handbook", embed_model=model)
    seen = SimpleDocumentStore.from_persist_path(str(SEEN)) if SEEN.exists() else SimpleDocumentStore()
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=200, chunk_overlap=0), model],
        vector_store=shelf,
        docstore=seen,
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )
    written = pipeline.run(documents=SimpleDirectoryReader(str(folder), filename_as_id=True).load_data())
    seen.persist(str(SEEN))
    print(f"{len(written)} chunks written, {len(shelf.get_nodes())} in the collection")

    index = VectorStoreIndex.from_vector_store(shelf, embed_model=model)
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=2, vector_store_query_mode="hybrid")
    for question in QUESTIONS:
        answer = engine.query(question)
        print(f"\n{answer.response}")
        print("-> from", ", ".join(hit.node.metadata["file_name"] for hit in answer.source_nodes))
    shelf.close()


def write_handbook(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in HANDBOOK.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
