"""FAISS: a write that waits for its turn lands in no collection that took the name meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from qvec_faiss import schema
from qvec_faiss.adapter import FaissAdapter

from qvec.errors import InvalidInputError
from qvec.types import CollectionSpec, Document


class Told(list[Document]):
    """Documents that tell when they are read: a write has looked the collection up by then, and holds no lock yet."""

    def __init__(self, documents: list[Document]) -> None:
        super().__init__(documents)
        self.read = Event()

    def __iter__(self) -> Iterator[Document]:
        self.read.set()
        return super().__iter__()


def test_a_write_that_waited_while_names_were_exchanged_meets_the_new_dim(tmp_path: Path) -> None:
    ours, theirs = FaissAdapter(tmp_path), FaissAdapter(tmp_path)
    for name, dim in (("wide", 8), ("narrow", 4)):
        ours.create_collection(CollectionSpec(name, dim))
    documents = Told([Document("d", "text")])
    with ThreadPoolExecutor(1) as thread:
        with theirs._connections.write() as connection:
            writing = thread.submit(ours.upsert, "wide", documents, np.ones((1, 8), np.float32))
            assert documents.read.wait(100)
            wide, narrow = (schema.need(connection, name, tmp_path) for name in ("wide", "narrow"))
            schema.exchange(connection, wide, narrow)
        with pytest.raises(InvalidInputError, match=r"\(1, 8\) given; the collection takes \(n, 4\)"):
            writing.result(100)
    assert [ours.count(name) for name in ("wide", "narrow")] == [0, 0]
    ours.close()
    theirs.close()
