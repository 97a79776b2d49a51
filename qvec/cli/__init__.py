"""The command line: each command is one method of the Python API, with its words and defaults."""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``qvec`` and leave with its exit code: 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.

    Args:
        arguments: those after the program's name; None takes the process's.
    """
    try:
        from qvec.cli.app import run

        code = run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
