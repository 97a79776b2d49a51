"""Train the bag: contrastive pairs at four widths, and the teachers' likeness of texts to one another."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from benchmarks.bundled_model.batches import MAX_DOCUMENT, Sampler
from benchmarks.bundled_model.imitation import TEMPERATURE, Likeness, imitation
from benchmarks.bundled_model.network import Bag, Shape
from benchmarks.bundled_model.places import cache
from benchmarks.bundled_model.teachers import principal
from qvec.embedders.bundled import DIMS

SAVE_EVERY = 200
# Gentler than those that ship: so a text's end is learnt too, and steeper ones afterwards find still more.
SLOPES = (0.0, 0.02, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Plan:
    """Say how long and how fast to train.

    Attributes:
        start: ``"e5"`` for the teacher's token vectors, or an earlier plan's name.
        distil: share of steps that imitate a teacher.
        longest: tokens at which documents are cut.
    """

    name: str = "bag"
    steps: int = 4500
    batch: int = 1024
    seed: int = 0
    embedding_rate: float = 3e-3
    rate: float = 7e-4
    distil: float = 0.15
    inner: int = 512
    start: str = "e5"
    longest: int = MAX_DOCUMENT


# The last plan runs from several seeds; the mean of what they end with finds more than any of them
# (Wortsman and others, "Model soups", 2022, https://arxiv.org/abs/2203.05482).
MEAN_OF = tuple(Plan(f"again-{seed}", 1200, start="bag", longest=128, distil=0.12, seed=seed) for seed in (3, 4, 5, 6))
PLANS = (Plan(), *MEAN_OF)


def contrast(queries: Tensor, documents: Tensor, same: Tensor) -> Tensor:
    """Score InfoNCE in both directions at every width; other copies of a text are no negatives."""
    total = queries.new_zeros(())
    target = torch.arange(len(queries), device=queries.device)
    for width in DIMS:
        q, d = F.normalize(queries[:, :width], dim=-1), F.normalize(documents[:, :width], dim=-1)
        scores = (q @ d.T / TEMPERATURE).masked_fill(same, -1e4)
        total = total + F.cross_entropy(scores, target) + 0.5 * F.cross_entropy(scores.T, target)
    return total / (1.5 * len(DIMS))


def fresh(plan: Plan) -> Bag:
    """Make the model that training starts from; with ``start="e5"`` like words of both languages start alike."""
    torch.manual_seed(plan.seed)
    tokenizer = Tokenizer.from_file(str(cache() / "tokenizer.json"))
    bag = Bag(Shape(vocabulary=tokenizer.get_vocab_size(), inner=plan.inner, slopes=SLOPES))
    if plan.start == "e5":
        vectors = np.load(cache() / "teacher_tokens.npy")
        mean, axes = principal(vectors, bag.shape.width - 1)
        cut = torch.from_numpy(((vectors - mean) @ axes).astype(np.float32))
        with torch.no_grad():
            bag.embed.copy_(F.normalize(cut, dim=-1) * 0.05 * bag.shape.width**0.5)
            bag.embed[0].normal_(std=0.05)
    elif plan.start:
        bag.load_state_dict(torch.load(cache() / f"{plan.start}.pt", weights_only=False, map_location="cpu")["model"])
    return bag


def train(plan: Plan) -> Path:
    """Train to the plan's last step, going on from the last checkpoint of the same name; log to <name>.log.jsonl."""
    path = cache() / f"{plan.name}.pt"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bag = fresh(plan).to(device)
    sampler = Sampler(seed=plan.seed, size=plan.batch, longest=plan.longest)
    teachers = [Likeness(name, sampler.tokenizer, seed=plan.seed) for name in ("minilm", "e5")] if plan.distil else []
    others = [p for name, p in bag.named_parameters() if name != "embed"]
    groups = [{"params": [bag.embed], "rate": plan.embedding_rate}, {"params": others, "rate": plan.rate}]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    first = 0
    if path.exists():
        saved = torch.load(path, weights_only=False, map_location=device)
        bag.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
        sampler.random = np.random.default_rng((plan.seed, first))
    chance = np.random.default_rng((plan.seed, first, 1))
    began, losses = time.monotonic(), dict[str, list[float]]()
    for step in range(first, plan.steps):
        _set_rates(optimizer, step, plan.steps)
        if teachers and chance.random() < plan.distil:
            index = int(chance.random() < 0.5)
            task, loss = ("minilm", "e5")[index], imitation(bag, teachers[index], sampler, plan.batch // 2)
        else:
            batch = sampler.draw()
            task = batch.task
            ids, lengths = torch.cat([batch.queries, batch.documents]), [batch.query_lengths, batch.document_lengths]
            both = bag(ids.to(device), torch.cat(lengths).to(device))
            loss = contrast(*both.split([plan.batch, plan.batch]), batch.same.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        optimizer.step()
        losses.setdefault(task, []).append(loss.item())
        if (step + 1) % 50 == 0:
            _log(plan.name, step + 1, time.monotonic() - began, losses)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
            state = {
                "model": bag.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
                "plan": asdict(plan),
            }
            torch.save(state, path.with_suffix(".partial"))
            path.with_suffix(".partial").rename(path)
    return path


def _set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    scale = min(1.0, (step + 1) / 60) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * scale


def _log(name: str, step: int, seconds: float, losses: dict[str, list[float]]) -> None:
    recent = {task: round(float(np.mean(values[-20:])), 3) for task, values in sorted(losses.items())}
    line = json.dumps({"step": step, "seconds": round(seconds), "loss": recent})
    print(line, flush=True)
    with (cache() / f"{name}.log.jsonl").open("a", encoding="utf-8") as out:
        out.write(line + "\n")
