"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qvec


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_public_name_can_be_imported() -> None:
    for name in qvec.__all__:
        assert getattr(qvec, name) is not None
        assert name in dir(qvec)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = qvec.nonsense


def test_import_qvec_loads_no_driver_no_torch_and_no_numpy() -> None:
    heavy = ["torch", "transformers", "numpy", "pymilvus", "psycopg", "faiss", "elasticsearch", "rich", "click"]
    code = f"import sys, qvec; print([m for m in {heavy} if m in sys.modules])"
    assert run(code) == "[]"


def test_import_qvec_takes_less_than_100_milliseconds() -> None:
    # The processor's time, at its best: other processes on the machine do not make the import slower.
    code = "import time; t = time.process_time(); import qvec; print(time.process_time() - t)"
    assert any(float(run(code)) < 0.1 for _ in range(20))


def test_the_whole_core_api_loads_without_a_driver_or_torch() -> None:
    code = (
        "import sys, qvec; qvec.index, qvec.search, qvec.connect, qvec.Collection;"
        "print([m for m in ['torch', 'transformers', 'pymilvus', 'psycopg', 'faiss'] if m in sys.modules])"
    )
    assert run(code) == "[]"
