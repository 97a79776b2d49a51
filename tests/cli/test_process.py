"""The command line as a process: exit codes, signals, pipes and what is imported."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial


def test_index_then_search_in_processes_of_their_own(process, project):
    assert process("index", project).returncode == 0
    done = process("search", "读取CSV文件", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hits"][0]["id"] == "reader.py#read_csv"


def test_errors_go_to_stderr_without_a_traceback(process):
    done = process("search", "words", "--backend", "milvsu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("qvec: unknown backend 'milvsu'; did you mean milvus?")
    assert "Traceback" not in done.stderr


def test_wrong_usage_leaves_with_2(process):
    assert process("search").returncode == 2


def test_a_missing_driver_is_one_line_with_the_pip_command(workplace, environment):
    program = (
        "import sys; sys.modules['pymilvus'] = None\n"
        "from qvec.cli import main\n"
        "main(['collections', '--backend', 'milvus'])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith('pip install "qvec[milvus]"')


def test_ctrl_c_leaves_with_130(workplace, environment):
    command = [sys.executable, "-m", "qvec", "index", "-", "--collection", "notes"]
    pipe = subprocess.PIPE
    streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True}
    # What runs in the background of a shell ignores Ctrl-C, and its children with it.
    heeding = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, env=environment, preexec_fn=heeding, **streams) as running:
        # More than a pipe holds: once it is written, the program is past its imports and reads.
        running.stdin.write((json.dumps({"id": "a", "text": "words " * 100}) + "\n") * 1000)
        running.stdin.flush()
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=200)
    assert running.returncode == 130
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_is_no_error(process, workplace, environment, project):
    process("index", project)
    command = [sys.executable, "-m", "qvec", "search", "words", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as running:
        running.stdout.close()
        errors = running.stderr.read()
    assert errors == ""


def test_help_imports_neither_numpy_nor_any_driver():
    program = (
        "import sys\nfrom qvec.cli.app import run\nrun(['--help'])\n"
        "print([name for name in ('numpy', 'rich', 'torch', 'faiss', 'tree_sitter') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
