"""What the student imitates: the teachers' likeness of short texts to one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from benchmarks.bundled_model.batches import END, MAX_QUERY, Ids, Sampler, flat
from benchmarks.bundled_model.network import Bag
from benchmarks.bundled_model.places import cache
from qvec.embedders.bundled import DIMS

TEMPERATURE = 0.05
NEIGHBOURS = 8


class Likeness:
    """Draw texts with a teacher's vectors."""

    def __init__(self, name: str, tokenizer: Tokenizer, *, seed: int) -> None:
        stored = np.load(cache() / f"teacher_{name}.npz", allow_pickle=True)
        vectors = stored["vectors"].astype(np.float32)
        # E5 puts every pair of texts at 0.7 or more; what tells them apart is left after the mean.
        self.vectors = F.normalize(torch.from_numpy(vectors - vectors.mean(0)), dim=-1)
        encoded = tokenizer.encode_batch_fast([str(t) for t in stored["texts"]], add_special_tokens=False)
        self.ids = [np.array(e.ids[:MAX_QUERY], np.uint16) for e in encoded]
        self.random = np.random.default_rng(seed)

    def draw(self, size: int) -> tuple[list[Ids], Tensor]:
        """Draw texts with their nearest fellows, since texts drawn at random are all equally far from one another.

        Returns:
            Token lists, and the teacher's cosines among them.
        """
        seeds = torch.from_numpy(self.random.choice(len(self.ids), size // NEIGHBOURS, replace=False))
        near = (self.vectors[seeds] @ self.vectors.T).topk(NEIGHBOURS, dim=1).indices
        rows = near.flatten().unique()
        vectors = self.vectors[rows]
        return [self.ids[int(row)] for row in rows], vectors @ vectors.T


def imitate(queries: Tensor, documents: Tensor, likeness: Tensor) -> Tensor:
    """Compare the student's ranking of every text against every other with the teacher's."""
    itself = torch.eye(len(likeness), dtype=torch.bool, device=likeness.device)
    goal = F.softmax((likeness / TEMPERATURE).masked_fill(itself, -1e4), dim=-1)
    total = queries.new_zeros(())
    for width in DIMS:
        q, d = F.normalize(queries[:, :width], dim=-1), F.normalize(documents[:, :width], dim=-1)
        scores = (q @ d.T / TEMPERATURE).masked_fill(itself, -1e4)
        total = total + F.kl_div(F.log_softmax(scores, dim=-1), goal, reduction="batchmean")
    return total / len(DIMS)


def imitation(bag: Bag, teacher: Likeness, sampler: Sampler, size: int) -> Tensor:
    """Score how far the student is from the teacher about short texts and their fellows."""
    texts, likeness = teacher.draw(size)
    queries = embed(bag, [np.concatenate([sampler.prompt, ids, END]) for ids in texts])
    documents = embed(bag, [np.concatenate([ids, END]) for ids in texts])
    return imitate(queries, documents, likeness.to(queries.device))


def embed(bag: Bag, texts: Sequence[Ids]) -> Tensor:
    """Embed token lists on the model's device."""
    ids, lengths = flat(texts)
    vectors: Tensor = bag(ids.to(bag.embed.device), lengths.to(bag.embed.device))
    return vectors
