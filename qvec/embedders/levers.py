"""What makes embedding faster, each with a switch, so that each can be measured alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Levers:
    """The switches; their defaults suit the CPU.

    Attributes:
        packed: run Qwen3 without padding, and its last layer only for the last tokens.
        shared_prefix: compute the instruction that queries begin with once.
        deduplicate: embed equal texts of a call once.
        overlap: tokenize in a thread while the device computes; a GPU gains, a CPU has no time to spare.
        pinned: copy to a GPU from pinned memory, without waiting.
        compiled: let torch compile a layer, once, which takes seconds and pays for large batches.
        graphs: replay small batches as CUDA graphs.
        float8: multiply in float8 on Ada and Hopper; changes vectors.
        int8: multiply in int8 on a CPU without bfloat16 instructions; changes vectors.
    """

    packed: bool = True
    shared_prefix: bool = True
    deduplicate: bool = True
    overlap: bool = False
    pinned: bool = True
    compiled: bool = False
    graphs: bool = False
    float8: bool = False
    int8: bool = False


def default_levers(device: str) -> Levers:
    """Return the switches that pay on a kind of device, ``"cpu"``, ``"cuda"`` or ``"mps"``."""
    return Levers(overlap=device == "cuda", compiled=device == "cuda", graphs=device == "cuda")
