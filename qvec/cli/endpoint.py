"""``qvec doctor --endpoint``: what an embedding endpoint does right and wrong."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from qvec.cli.endpoint_probes import Finding, Prober, probe_all
from qvec.cli.endpoint_reference import probe_reference
from qvec.cli.options import write_json
from qvec.embedders.remote.address import Address, clean_url, find_key
from qvec.embedders.remote.discovery import Served, find_form, list_models, reachable
from qvec.embedders.remote.retrying import Retrier, Retries
from qvec.embedders.remote.transport import Transport
from qvec.errors import ConfigError

_RETRIES = Retries(tries=3)


def examine(url: str, model: str | None, reference: Path | None, *, as_json: bool) -> bool:
    """Probe an endpoint, print what was measured, and return whether no fault was found.

    Raises:
        ConfigError: the URL cannot be used, or the endpoint has several models and none was named.
        EndpointError: nothing answers there, or not with vectors.
        EmbeddingError: the reference cannot be loaded.
    """
    place = clean_url(url)
    transport = Transport(place, key=find_key(Address("", place), env=os.environ))
    try:
        reachable(transport)
        retrier = Retrier(_RETRIES)
        models = list_models(transport, retrier)
        chosen = model or _only(models)
        form, width = find_form(transport, retrier, chosen, None)
        prober = Prober(transport, form, width, _RETRIES)
        findings = probe_all(prober)
        if reference is not None:
            compared = probe_reference(prober, reference)
            named = {finding.name for finding in compared}
            findings = [finding for finding in findings if finding.name not in named] + compared
        else:
            findings.append(Finding("pooling", "unknown", "not compared", "--reference FOLDER: the model's own files"))
    finally:
        transport.close()
    healthy = all(finding.verdict != "fault" for finding in findings)
    report = {"url": place, "model": chosen, "models": [asdict(served) for served in models], "width": width}
    if as_json:
        write_json({**report, "findings": [asdict(finding) for finding in findings], "healthy": healthy})
    else:
        _show(place, chosen, width, models, findings)
    return healthy


def _only(models: list[Served]) -> str:
    if len(models) == 1:
        return models[0].model
    known = ", ".join(served.model for served in models) or "none that it tells of"
    raise ConfigError(f"name the model with --model; the endpoint has {known}")


def _show(url: str, model: str, width: int, models: list[Served], findings: list[Finding]) -> None:
    window = next((served.window for served in models if served.model == model), None)
    click.echo(f"{model} at {url}: {width} dims, window {f'{window:,} tokens' if window else 'not told'}")
    for finding in findings:
        advice = f" -> {finding.advice}" if finding.advice else ""
        click.echo(f"  {finding.verdict:<8}{finding.name:<12}{finding.measured}{advice}")
