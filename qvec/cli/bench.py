"""``qvec bench``: what the machine can do."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qvec.cli.options import write_json
from qvec.errors import InvalidInputError

if TYPE_CHECKING:
    from qvec.embedders.measuring import Measured
    from qvec.embedders.transformer import TransformerEmbedder

_BATCH_SIZES = (32, 8, 128)


@click.group()
def bench() -> None:
    """Measure this machine. Every command takes --json."""


@bench.command()
@click.option("--model", required=True, metavar="NAME|FOLDER", help="A Hugging Face model.")
@click.option("--texts", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="One text a line.")
@click.option("--n", type=click.IntRange(min=1), default=256, show_default=True, help="How many texts.")
@click.option("--mean-tokens", type=click.IntRange(min=6), default=120, show_default=True, help="Of generated texts.")
@click.option("--most-tokens", type=click.IntRange(min=6), default=1024, show_default=True, help="Of generated texts.")
@click.option("--device", help="cpu, cuda, cuda:1 or mps. Default: the best there is.")
@click.option("--dtype", help="float32, bfloat16 or float16. Default: what suits the device.")
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens in a batch. Default: what suits the device.")
@click.option("--peak", type=click.FloatRange(min=0, min_open=True), help="The device's peak, TFLOP/s.")
@click.option("--passes", type=click.IntRange(min=1), default=2, show_default=True, help="Passes; the fastest counts.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the generated texts.")
@click.option("--compare/--no-compare", default=True, help="Run sentence-transformers too, when it is installed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def embed(
    model: str,
    file: Path | None,
    n: int,
    mean_tokens: int,
    most_tokens: int,
    device: str | None,
    dtype: str | None,
    batch_tokens: int | None,
    peak: float | None,
    passes: int,
    seed: int,
    compare: bool,
    as_json: bool,
) -> None:
    """Measure how fast a model embeds documents here.

    Texts are cut from Python's own sources, of lognormal length, or read from --texts. MFU is the share of the device's
    peak: --peak, else the maker's figure, else the measured speed of large matrix products.
    """
    from qvec.embedders.measuring import measure, sample_texts
    from qvec.embedders.transformer import TransformerEmbedder

    texts = _read(file, n) if file else sample_texts(n, mean=mean_tokens, most=most_tokens, seed=seed)
    embedder = TransformerEmbedder(model, device=device, dtype=dtype, batch_tokens=batch_tokens)
    embedder.encode_document(texts[:2])
    found = [measure(embedder, texts, passes=passes)]
    if compare and find_spec("sentence_transformers"):
        found += _peers(embedder, texts, passes)
    report = _report(embedder, texts, found, peak)
    if as_json:
        write_json(report)
    else:
        _show(report)


def _read(file: Path, n: int) -> list[str]:
    texts = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][:n]
    if not texts:
        raise InvalidInputError(f"{file} holds no text: give a file with one text a line")
    return texts


def _peers(embedder: TransformerEmbedder, texts: list[str], passes: int) -> list[Measured]:
    from sentence_transformers import SentenceTransformer

    from qvec.embedders.hub import find_folder
    from qvec.embedders.measuring import measure_sentence_transformer

    folder = str(find_folder(embedder.model_id, None))
    peer = SentenceTransformer(folder, device=str(embedder.device), model_kwargs={"dtype": embedder.dtype})
    lengths = embedder.count_tokens(texts)
    peer.encode(texts[:2], show_progress_bar=False)
    return [
        measure_sentence_transformer(
            peer, texts, lengths, batch_size=size, device=embedder.device, passes=passes
        )
        for size in _BATCH_SIZES
    ]  # fmt: skip


def _report(
    embedder: TransformerEmbedder, texts: list[str], found: list[Measured], given: float | None
) -> dict[str, Any]:
    from qvec.embedders.measuring import known_peak, matmul_rate, model_flops

    maker = known_peak(embedder.device)
    peak = given or maker or matmul_rate(embedder.device, embedder.dtype)
    flops = model_flops(embedder.config, embedder.count_tokens(texts))
    rows = [
        {
            **asdict(one),
            "tokens_per_second": one.tokens_per_second,
            "texts_per_second": one.texts / one.seconds,
            "mfu": flops / one.seconds / peak / 1e12,
            "qvec_is_times": one.seconds / found[0].seconds,
        }
        for one in found
    ]
    return {
        "model": embedder.model_id,
        "device": str(embedder.device),
        "dtype": str(embedder.dtype).removeprefix("torch."),
        "batch_tokens": embedder.batch_tokens,
        "peak_tflops": peak,
        "peak_from": "given" if given else "maker" if maker else "measured",
        "runs": rows,
    }


def _show(report: dict[str, Any]) -> None:
    click.echo(
        f"{report['model']} on {report['device']} as {report['dtype']}, batches of {report['batch_tokens']:,} tokens, "
        f"peak {report['peak_tflops']:.3g} TFLOP/s ({report['peak_from']})"
    )
    for row in report["runs"]:
        click.echo(
            f"  {row['name']:<40} {row['tokens_per_second']:>10,.0f} tokens/s {row['texts_per_second']:>8,.1f} texts/s"
            f"  MFU {row['mfu']:.1%}  padding {row['padding']:.0%}  x{row['qvec_is_times']:.2f} the time"
        )
        if row["stages"]:
            click.echo("    " + ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in row["stages"].items()))
