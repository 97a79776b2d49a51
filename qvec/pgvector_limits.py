"""What pgvector's HNSW index takes, and from when on it pays: one rule for collections and for attached tables."""

from __future__ import annotations

MAX_VECTOR = 2000
"""Widest ``vector`` that HNSW takes; ``halfvec`` beyond (pgvector 0.8)."""

INDEX_FROM = 1000
"""Below so many rows an exact scan takes a few milliseconds and misses nothing. It reads each vector out of line."""
