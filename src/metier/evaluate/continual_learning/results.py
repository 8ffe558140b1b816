"""What the method returns, and its lines of means over orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metier.evaluate.continual_learning.measures import Transfer
from metier.evaluate.continual_learning.settings import Strategy

LEAST_ORDERS = 3  # an interval from fewer says nothing


@dataclass(frozen=True)
class Outcome:
    """One strategy in one order of tasks.

    order: names of the tasks as trained; matrix: row t the scores after t tasks, columns in that order and then the general
        suites; higher is better
    trained_tokens: predicted tokens of all steps, of which replayed_tokens are of earlier tasks
    extra_bytes: kept between stages besides the model: buffer, anchor and Fisher information, or adapters
    """

    strategy: Strategy
    order: list[str]
    matrix: list[list[float]]
    transfer: Transfer
    trained_tokens: int
    replayed_tokens: int
    extra_bytes: int


@dataclass(frozen=True)
class Estimate:
    """Mean over orders with its 95% interval (Student's t); low and high are None for fewer than three orders."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Summary:
    """A strategy's measures over orders, as in Transfer; None where undefined. overall is OP after the last task."""

    strategy: Strategy
    overall: Estimate | None
    backward: Estimate | None
    forgetting: Estimate | None
    forward: Estimate | None
    learning: Estimate | None
    intransigence: Estimate | None
    general_mean: Estimate | None
    trained_tokens: float
    replayed_tokens: float
    extra_bytes: float


@dataclass(frozen=True)
class ContinualLearning:
    """What the strategies did.

    metric: of the task suites; "minus bits per byte" where it is a loss
    individual, joint: the score on each task of a model trained on it alone, and of one trained on all at once, in
        `joint_tokens`; empty without baselines
    overlaps: test items that were trained on, by "suite in task"
    cheapest: the strategy of one model with the fewest trained tokens, then bytes, whose final OP can't be told from the best's
        (paired over orders, 95%); None for fewer than three orders
    """

    metric: str
    tasks: list[str]
    general: list[str]
    outcomes: list[Outcome]
    individual: list[float]
    joint: list[float]
    joint_tokens: int
    summaries: list[Summary]
    cheapest: Strategy | None
    overlaps: dict[str, int]


def summarise(outcomes: Sequence[Outcome]) -> list[Summary]:
    """A line a strategy, in order of first appearance."""
    return [_line(strategy, [one for one in outcomes if one.strategy == strategy]) for strategy in _strategies(outcomes)]


def cheapest(outcomes: Sequence[Outcome]) -> Strategy | None:
    """See ContinualLearning. Outcomes of all strategies must be of the same orders, in order."""
    finals = {
        strategy: [one.transfer.overall[-1] for one in outcomes if one.strategy == strategy]
        for strategy in _strategies(outcomes)
        if strategy != "adapters"  # one model a task, which needs the task's name
    }
    scores = {strategy: [score for score in found if score is not None] for strategy, found in finals.items()}
    if any(len(found) < max(LEAST_ORDERS, len(finals[strategy])) for strategy, found in scores.items()):
        return None
    best = max(scores, key=lambda strategy: math.fsum(scores[strategy]))
    near = []
    for line in summarise(outcomes):
        if line.strategy in scores:
            lost = estimate([a - b for a, b in zip(scores[best], scores[line.strategy], strict=True)])
            if line.strategy == best or lost is None or lost.low is None or lost.low <= 0:
                near.append((line.trained_tokens, line.extra_bytes, line.strategy))
    return min(near)[2]


def estimate(values: Sequence[float | None]) -> Estimate | None:
    """The mean of the values with its interval; None where one of them is."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean = math.fsum(known) / len(known)
    if len(known) < LEAST_ORDERS:
        return Estimate(mean, None, None)
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(known) - 1)) * float(stats.sem(known))
    return Estimate(mean, mean - half, mean + half)


def _strategies(outcomes: Sequence[Outcome]) -> list[Strategy]:
    return list(dict.fromkeys(outcome.strategy for outcome in outcomes))


def _line(strategy: Strategy, outcomes: Sequence[Outcome]) -> Summary:
    found = [outcome.transfer for outcome in outcomes]
    return Summary(
        strategy=strategy,
        overall=estimate([one.overall[-1] for one in found]),
        backward=estimate([one.backward for one in found]),
        forgetting=estimate([one.forgetting for one in found]),
        forward=estimate([one.forward for one in found]),
        learning=estimate([one.learning for one in found]),
        intransigence=estimate([one.intransigence for one in found]),
        general_mean=estimate([one.general_mean for one in found]),
        trained_tokens=sum(one.trained_tokens for one in outcomes) / len(outcomes),
        replayed_tokens=sum(one.replayed_tokens for one in outcomes) / len(outcomes),
        extra_bytes=sum(one.extra_bytes for one in outcomes) / len(outcomes),
    )
