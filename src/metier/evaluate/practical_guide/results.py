"""What is known of a task, and what is advised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from metier.evaluate.practical_guide.flow import Leaf, Test

Winner = Literal["prompt", "tune", "neither", "no difference", "not compared"]


@dataclass(frozen=True)
class TaskFacts:
    """What is known of a task; None is unknown. The first ten are the flow's questions (practical_guide/flow.py words them).

    num_labelled: labelled examples at hand; num_classes: labels to choose from; with both, few_labels follows
    latency_ms: the longest an answer may take; requests_per_month: how many are asked
    data_may_leave: whether texts may be sent to others; local_gpu: whether a machine for a large model is at hand
    safety_critical: whether a wrong answer does harm; biased_labels: whether the labels are known to be biased
    """

    mimics_human: bool | None = None
    needs_reasoning: bool | None = None
    several_tasks: bool | None = None
    far_from_language: bool | None = None
    few_labels: bool | None = None
    shifted: bool | None = None
    generates: bool | None = None
    knowledge_intensive: bool | None = None
    context_suffices: bool | None = None
    real_knowledge: bool | None = None
    num_labelled: int | None = None
    num_classes: int | None = None
    latency_ms: float | None = None
    requests_per_month: float | None = None
    data_may_leave: bool | None = None
    local_gpu: bool | None = None
    safety_critical: bool | None = None
    biased_labels: bool | None = None


@dataclass(frozen=True)
class Point:
    """A tuned model's accuracy with so many labels: mean over draws of them, with its interval."""

    labels: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Value:
    """A share or a difference of shares, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Shift:
    """How much accuracy falls from texts of the source learnt from to those of others."""

    column: str
    source: str
    num_inside: int
    num_outside: int
    tuned_drop: Value
    prompted_drop: Value | None
    difference: Value | None


@dataclass(frozen=True)
class Check:
    """What the user's own rows say. Accuracies on num_test rows that nothing was learnt from.

    num_duplicates: rows left out because their text stood there before
    majority: accuracy of always saying the commonest label; shortcut: of a model that sees length, signs and first word alone
    tuned: by number of labels; prompted: by number of examples shown, None without a model to prompt
    tuned_less_prompted: with all labels, against the best prompt
    crossover: labels from which on the tuned model is surely better, within the data; predicted: by the curve, up to eightfold
    winner: prompt, tune, neither (none is surely above majority), no difference, or not compared
    spurious: whether the shortcut comes more than half the way from majority to the best
    agreement: for the advice as a whole and each step that can be tested, whether the data agree; None where they say nothing
    """

    num_train: int
    num_test: int
    num_duplicates: int
    labels: list[str]
    majority: float
    shortcut: float
    spurious: bool
    tuned: list[Point]
    prompted: dict[int, Value]
    tuned_less_prompted: Value | None
    crossover: int | None
    predicted: int | None
    shift: Shift | None
    winner: Winner
    agreement: dict[str, bool | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    recommendation: None where the leaves differ and nothing overrules; leaves: share of the unknown facts' assignments by leaf
    confidence: share of the likeliest leaf, 1 where the facts decide; path: the tests passed, up to the first unknown one
    question: what to find out next; overruled: constraints that decided instead of the flow
    break_even: requests from which on tuning is cheaper; None without costs, or where it never is (`notes` says which)
    would_change: for each known fact that matters, the leaves its opposite leads to
    check_refused: why the rows were not used
    """

    recommendation: Leaf | None
    leaves: dict[Leaf, float]
    confidence: float
    path: list[Test]
    question: str | None
    overruled: list[str]
    break_even: float | None
    would_change: dict[str, list[Leaf]]
    notes: list[str]
    check: Check | None = None
    check_refused: str | None = None
