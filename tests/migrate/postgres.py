"""The driver, where it is installed."""

from __future__ import annotations

import pytest

psycopg = pytest.importorskip("psycopg")
