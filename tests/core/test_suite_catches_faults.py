"""A judge that passes everything judges nothing: one planted fault each, and the suite finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.core.faults import CAUGHT_BY, scheme_of
from tests.core.hybrid_faults import HYBRID_CAUGHT_BY, Fusing

FAULTS = Path(__file__).with_name("faults.py")
ROOT = FAULTS.parents[2]
SOUND = ("TestMemory", "TestFusing")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """Run the intended tests on every faulty adapter, installed as a stranger's would be: class, test -> outcome."""
    folder = tmp_path_factory.mktemp("faults")
    _install(folder)
    wanted = [f"{FAULTS}::Test{fault.__name__}::{test}" for fault, tests in CAUGHT_BY.items() for test in tests]
    sound = Path(__file__).with_name("test_memory.py")
    hybrid = _tests(HYBRID_CAUGHT_BY)
    wanted += [f"{sound}::TestMemory::{test}" for test in sorted(_tests(CAUGHT_BY) - hybrid)]
    wanted += [f"{FAULTS}::TestFusing::{test}" for test in sorted(hybrid)]
    report = folder / "report.xml"
    # A folder of its own: a pytest that takes the common one closes it to the user that PostgreSQL's tests run as.
    own = f"--basetemp={folder / 'tmp'}"
    arguments = ["-q", "--tb=short", "-p", "no:cacheprovider", own, "--junitxml", str(report), *wanted]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")
        found[case.attrib["classname"].rpartition(".")[2], case.attrib["name"]] = outcome
    return found


@pytest.mark.parametrize(
    ("fault", "test"), [(fault.__name__, test) for fault, tests in CAUGHT_BY.items() for test in tests]
)
def test_the_fault_is_caught_by_the_test_meant_for_it(outcomes: dict[tuple[str, str], str], fault: str, test: str):
    assert outcomes[f"Test{fault}", test] == "failure"


def test_the_same_tests_pass_without_a_fault(outcomes: dict[tuple[str, str], str]):
    sound = {test: outcome for (suite, test), outcome in outcomes.items() if suite in SOUND}
    assert sound == dict.fromkeys(_tests(CAUGHT_BY), "passed")


def _tests(caught_by: Mapping[type, tuple[str, ...]]) -> set[str]:
    return {test for tests in caught_by.values() for test in tests}


def _install(folder: Path) -> None:
    """Write what an installer leaves behind: the metadata that names the adapters."""
    metadata = folder / "qvec_faults-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: qvec-faults\nVersion: 1.0\n")
    faults = (Fusing, *CAUGHT_BY)
    lines = [f"{scheme_of(fault)} = {fault.__module__}:{fault.__name__}" for fault in faults]
    (metadata / "entry_points.txt").write_text("\n".join(["[qvec.adapters]", *lines, ""]))
