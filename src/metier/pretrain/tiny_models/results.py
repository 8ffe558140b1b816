"""What was measured of tiny pretrained encoders, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Arm = Literal["deep", "deep, not pretrained", "members", "committee", "one pretraining"]


@dataclass(frozen=True)
class Accuracy:
    """Share of test documents that are classified right, with its 95% interval; of `members` the mean over them.
    weights: of all its models together"""

    arm: Arm
    models: int
    weights: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Second arm less first on the same documents: value, 95% interval and p by McNemar's exact test."""

    first: Arm
    second: Arm
    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Latency:
    """Median milliseconds for one document of full length. critical_path: of the deepest network alone, what it takes where every member
    has a processor of its own; in_turn: one member after another, as on one processor"""

    arm: Arm
    layers: int
    models: int
    critical_path: float
    in_turn: float


@dataclass(frozen=True)
class Findings:
    """accuracies by arm; gain: deep against the same fine-tuning from random weights; others: committee against deep, against its mean
    member's best (oracle: share that any member has right), and against as many fine-tunings of one pretraining

    oracle: share of documents that at least one member has right; disagreement: mean share of documents on which two members differ
    overlap: share of the labelled documents' tokens that occur in the pretraining texts
    labels: training documents by label
    """

    accuracies: list[Accuracy]
    gain: Difference
    others: list[Difference]
    oracle: float
    disagreement: float
    overlap: float
    latencies: list[Latency]
    labels: dict[str, int]
    notes: list[str] = field(default_factory=list)
