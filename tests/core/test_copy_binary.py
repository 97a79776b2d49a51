"""PostgreSQL's binary form: what is written is what the server reads."""

from __future__ import annotations

import numpy as np

from qvec.copy_binary import vector_fields


def test_a_vector_is_written_without_loss() -> None:
    drawn = np.random.default_rng(0).standard_normal(1024).astype(np.float32)
    extremes = np.resize(np.array([0.0, -0.0, 1.0, 1e-45, 3.4028235e38, -1.1754944e-38, 0.1], np.float32), 1024)
    for vector, field in zip((drawn, extremes), vector_fields(np.stack([drawn, extremes]), half=False), strict=True):
        assert np.frombuffer(field[:4], ">i4")[0] == len(field) - 4
        assert np.frombuffer(field[4:8], ">i2").tolist() == [1024, 0]
        assert np.array_equal(np.frombuffer(field[8:], ">f4").view(">u4"), vector.astype(">f4").view(">u4"))
