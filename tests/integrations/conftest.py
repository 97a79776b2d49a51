"""Frameworks are not to report the tests to their makers."""

from __future__ import annotations

import os

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")
