"""Rerankers that ship: Qwen3-Reranker by torch, and any server with a ``/rerank``."""
