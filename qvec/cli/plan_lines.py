"""What `qvec migrate plan` prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qvec.cli.migrate_progress import span

if TYPE_CHECKING:
    from qvec.migrate import Plan

_COLUMNS = ("float32", "+ HNSW", "halfvec", "+ HNSW", "int8", "+ HNSW", "binary", "+ HNSW")


def plan_lines(found: Plan) -> Iterable[str]:
    """Write a plan for people."""
    mean, longest = found.characters
    yield f"{found.source}: {found.rows:,} rows, {found.bad:,} of them bad; {found.sampled:,} sampled"
    for key, value in found.facts.items():
        yield f"  {key}: {_fact(value)}"
    yield f"  texts of {mean:,.0f} characters, the longest sampled {longest:,}; {found.cut:.1%} over the model's window"
    rate = f"{found.tokens_per_second:,.0f} a second on the {found.device} here: {span(found.hours * 3600)}"
    yield f"{found.model}: {found.tokens:,} tokens, {rate}"
    if found.cost is not None:
        yield f"  at the price given: {found.cost:{',.2f' if found.cost >= 1 else '.2g'}}"
    yield f"{'dim':>6} {' '.join(f'{name:>15}' for name in _COLUMNS)}   bytes"
    for item in found.storage:
        sizes = [
            item.float32, item.float32_index, item.halfvec, item.halfvec_index, item.int8, item.int8_index,
            item.binary, item.binary_index,
        ]  # fmt: skip
        yield f"{item.dim:>6} {' '.join(f'{size:>15,}' if size is not None else f'{chr(45):>15}' for size in sizes)}"
    yield f"  halfvec: PostgreSQL, Milvus; int8: Elasticsearch, Milvus, FAISS; binary: all four; HNSW of {found.index}"
    yield from (f"lock: {line}" for line in found.locks)
    yield from (f"warning: {line}" for line in found.warnings)


def _fact(value: object) -> str:
    """Write lists and tables of names as people do; what is not so is named with "no"."""
    if isinstance(value, dict):
        return ", ".join(_named(str(name), found) for name, found in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _named(name: str, found: object) -> str:
    if found is True:
        return name
    return f"{name} ({_fact(found)})" if found else f"no {name}"
