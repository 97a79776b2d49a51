"""The search for the numbers of the keyword leg's weight."""

import numpy as np
import pytest

from benchmarks.bundled_model import fitting
from benchmarks.bundled_model.evaluation import Task, fused_run, measure
from qvec.fusion import FusionSpec


def test_the_worth_of_each_weight_is_that_of_the_fusion():
    near = [(3, 0.9), (1, 0.7), (2, 0.65), (8, 0.1)]
    words = [(2, 12.0), (7, 9.0), (1, 3.0)]
    grades = {7: 2, 1: 1, 9: 1}
    found = fitting.by_weight(words, near, grades)
    for weight, worth in zip(fitting.GRID, found, strict=True):
        how = FusionSpec(method="linear", scaling="raw", weights={"lexical": float(weight)})
        task = Task("", [], ["anything"], [grades])
        run = fused_run(task, [near], [words], lambda _, how=how: how)
        assert measure(task, run)["ndcg@10"] == pytest.approx(worth, abs=1e-4)


def test_the_climb_finds_which_leg_the_evidence_points_to():
    rng = np.random.default_rng(0)
    lead = rng.random(200)
    right = np.where(lead[:, None] > 0.5, fitting.GRID > 0.03, fitting.GRID <= 0.03).astype(float)
    alone = np.stack([lead <= 0.5, lead > 0.5], axis=1).astype(float)
    read = np.stack([np.ones(200), lead, np.zeros(200)], axis=1)
    part = fitting.Part("made up", True, read, right, alone)
    numbers = fitting.fit([part], ("base", "lead", "drop"), starts=2, steps=300)
    assert fitting.gains([part], numbers)[0] > 0.4
