"""All themes in one class."""

from __future__ import annotations

from qvec.testing.dense import DenseTests
from qvec.testing.errors import ErrorTests
from qvec.testing.exchange import ExchangeTests
from qvec.testing.filters import FilterTests
from qvec.testing.hybrid import HybridTests
from qvec.testing.lexical import LexicalTests
from qvec.testing.lifecycle import LifecycleTests
from qvec.testing.reading import ReadingTests
from qvec.testing.writing import WritingTests


class AdapterSuite(
    LifecycleTests,
    WritingTests,
    ReadingTests,
    DenseTests,
    LexicalTests,
    HybridTests,
    FilterTests,
    ExchangeTests,
    ErrorTests,
):
    """Pin every rule of the seam on one adapter; inherit from it and set `uri`.

    Where a database has a gap, its `Capabilities` declare it and the suite asks for a typed error instead. Override
    the fixture `adapter_uri` when the database must be made first::

        @pytest.fixture(scope="class")
        @classmethod
        def adapter_uri(cls, tmp_path_factory):
            return f"mine://{tmp_path_factory.mktemp('db')}"
    """
