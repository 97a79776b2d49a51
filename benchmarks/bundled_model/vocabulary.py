"""Train the byte-level BPE tokenizer on code and on both languages."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from benchmarks.bundled_model.places import cache, read_rows

SIZE = 28_000
END = "<|endoftext|>"
SEED = 1
# Boundaries inside identifiers: readCsv -> read Csv, HTTPServer -> HTTP Server.
_CAMEL = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
_PIECES = r"\p{Han}+|[\p{L}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}"


def blank() -> Tokenizer:
    """Lay out the pipeline; everything that cuts or folds text is inside, so the file alone reproduces it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(_CAMEL), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train() -> None:
    """Write tokenizer.json into the cache."""
    tokenizer = blank()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=18,
        min_frequency=3,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A $B {END}", special_tokens=[(END, 0)]
    )
    tokenizer.save(str(cache() / "tokenizer.json"))
    print(f"tokenizer: {tokenizer.get_vocab_size()} tokens")


def _texts() -> Iterator[str]:
    """Give Chinese its full weight and code a sample, so that neither crowds the other out of the vocabulary."""
    chance = random.Random(SEED)
    for row in read_rows(cache() / "pairs.jsonl.gz"):
        if row["task"] in ("en_code", "en_lines"):
            yield row["q"]
            if chance.random() < 0.2:
                yield row["c"][:800]
        elif row["task"] in ("zh_code", "zh_lines"):
            yield row["q"]
            yield row["c"][:200]
        else:
            yield row["q"]
            yield row["d"]
