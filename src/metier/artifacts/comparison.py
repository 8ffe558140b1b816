"""Comparison and Verdict: what a head-to-head of two models says, per task and in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["acquired", "held_out", "general"]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items of one task.

    metric: "bits per byte" (lower is better) or "accuracy" (share between 0 and 1, higher is better), or another with `better`
    base, candidate, difference (candidate minus base), low, high (95% interval of the difference): in units of the metric
    base_low ... candidate_high: 95% interval of each model's own value
    p, p_holm: two-sided p-value of no difference, and the same corrected over all tasks compared together
    outcome: better or worse where the interval excludes 0, tie where it holds it
    corrected: the same where p_holm is below 0.05 too, else tie
    num_gained, num_lost: items that only the candidate, and only the base, has right (negative flips); None but for accuracies
    """

    task: str
    role: Role
    metric: str
    better: Literal["higher", "lower"]
    num_items: int
    base: float
    base_low: float
    base_high: float
    candidate: float
    candidate_low: float
    candidate_high: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    outcome: Literal["better", "tie", "worse"]
    chance: float | None = None
    corrected: Literal["better", "tie", "worse"] = "tie"
    num_gained: int | None = None
    num_lost: int | None = None

    def with_holm(self, p_holm: float) -> Comparison:
        """The same among other comparisons, by its p-value corrected for all of them."""
        return replace(self, p_holm=p_holm, corrected=self.outcome if p_holm < 0.05 else "tie")


@dataclass(frozen=True)
class Verdict:
    """The answer to "is it a specialist?".

    specialist: better on held-out text or on questions, worse on none of them, and nothing general fell
    cost: better in its domain, but a general ability fell beyond its interval, or one domain measure did
    no gain: no domain measure got better, none worse
    worse: some domain measure got worse and none better
    """

    status: Literal["specialist", "cost", "no gain", "worse"]
    sentence: str
