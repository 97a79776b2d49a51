"""Texts, and a patience that suits tests."""

from __future__ import annotations

from qvec.embedders.remote.retrying import Retries

TEXTS = ["read a CSV file", "读取CSV文件", "def f(x):\n    return x\n", "", "a", "b " * 300]
MANY = [f"text number {number} " * (number % 7 + 1) for number in range(100)]
QUICK = Retries(tries=4, first_wait=0.01, longest_wait=0.05)
