"""What the planner answers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainPlan:
    """Seconds and bytes; pairs are (least, most) as likely. parts: of the peak, in bytes; basis: where the numbers come from;
    binds: what limits, in words; advice: what would change it; peak_formula_bytes: the peak by formula alone, None where unknown"""

    parameters: int
    trained: int
    precision: str
    tokens_at_once: int
    passes: int
    recompute: bool
    steps: int
    step_flops: int
    step_seconds: float
    step_range: tuple[float, float]
    tokens_per_second: float
    total_seconds: float
    utilisation: float | None
    peak_bytes: int
    peak_range: tuple[int, int]
    peak_formula_bytes: int | None
    memory_bytes: int
    fits: bool
    binds: str
    basis: str
    parts: dict[str, int]
    advice: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ServePlan:
    """prefill, decode, decode_one: tokens a second of reading, of writing `rows` sequences together, and of one alone; pairs are (least,
    most) as likely; sequences: how many of this length fit; turning_rows: sequences from which arithmetic binds decoding, not memory"""

    weights_bytes: int
    cache_bytes: int
    sequences: int
    rows: int
    prefill: float
    decode: float
    decode_one: float
    decode_range: tuple[float, float]
    turning_rows: float
    memory_bytes: int
    binds: str
    basis: str
