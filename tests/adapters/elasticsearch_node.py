"""A real Elasticsearch node for the tests."""

from __future__ import annotations
import os
from pathlib import Path


def elasticsearch_uri(folder: Path) -> str:
    return os.environ["QVEC_TEST_ELASTICSEARCH_URI"]
