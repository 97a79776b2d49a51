"""The judge of adapters. Two lines put one before it::

    from qvec.testing import AdapterSuite

    class TestMine(AdapterSuite):
        uri = "mine://"

Needs pytest and hypothesis: ``pip install pytest hypothesis``.
"""

from __future__ import annotations

from importlib.util import find_spec

_missing = [package for package in ("pytest", "hypothesis") if find_spec(package) is None]
if _missing:
    raise ImportError(f"qvec.testing needs {' and '.join(_missing)}: pip install {' '.join(_missing)}")

import pytest  # noqa: E402 - only once it is known to be there

_THEMES = ("base", "lifecycle", "writing", "reading", "dense", "lexical", "hybrid", "filters", "errors")
pytest.register_assert_rewrite(*(f"{__name__}.{theme}" for theme in _THEMES))

from qvec.testing.base import Connection  # noqa: E402 - after pytest has been told to explain its assertions
from qvec.testing.suite import AdapterSuite  # noqa: E402

__all__ = ["AdapterSuite", "Connection"]
