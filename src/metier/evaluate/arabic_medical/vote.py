"""One answer from several: majority, weighted or the best member's, and what abstaining buys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Rule = Literal["majority", "weighted", "best"]
Tie = Literal["best_dev", "first", "abstain"]


@dataclass(frozen=True)
class Member:
    """A voter with what it did on questions outside the examination."""

    correct: int
    answered: int

    @property
    def accuracy(self) -> float:
        """Its accuracy with one right and one wrong answer added, so that it is never 0 or 1."""
        return (self.correct + 1) / (self.answered + 2)

    def weight(self, num_options: int) -> float:
        """The log-odds a vote of it is worth: log(a (K - 1) / (1 - a)). Below 0 for a member that is worse than guessing."""
        if num_options < 2:
            raise ValueError(f"{num_options} options leave nothing to vote on: a question needs two or more")
        return math.log(self.accuracy * (num_options - 1) / (1 - self.accuracy))


@dataclass(frozen=True)
class Decision:
    """chosen: the option, None where nobody voted or a tie made the vote abstain; confidence: for each option, summing to 1
    over them."""

    chosen: int | None
    confidences: tuple[float, ...]

    @property
    def confidence(self) -> float:
        return self.confidences[self.chosen] if self.chosen is not None else 0.0


def vote(
    votes: Sequence[int | None], num_options: int, *, rule: Rule, tie: Tie, members: Sequence[Member] | None = None
) -> Decision:
    """What several members' choices say together. A missing vote (a refusal, an answer that could not be read) does not count.

    majority: most votes, the confidence is their share. weighted: the largest sum of log-odds (Member.weight), the confidence
    is its share after a softmax, which is the posterior of independent members whose errors fall evenly on the wrong options.
    best: the vote of the most accurate member that voted. A tie goes to the most accurate of the members that voted for one of
    the tied options, to the first of them, or to nobody. A lone vote stands. Raises ValueError where the rule or the tie needs
    `members` and there are none.
    """
    if (rule != "majority" or tie == "best_dev") and members is None:
        raise ValueError(
            f"vote={rule}, tie={tie} needs the members' accuracies: give a dev file, or vote majority with tie first or abstain"
        )
    cast = [(place, voter) for voter, place in enumerate(votes) if place is not None]
    for place, voter in cast:
        if not 0 <= place < num_options:
            raise ValueError(f"member {voter} voted for option {place} of {num_options}")
    if not cast:
        return Decision(None, (1 / num_options,) * num_options)
    if rule == "best":
        assert members is not None
        cast = [max(cast, key=lambda one: members[one[1]].accuracy)]
    totals = [0.0] * num_options
    for place, voter in cast:
        totals[place] += members[voter].weight(num_options) if rule == "weighted" and members is not None else 1.0
    weights = [math.exp(total - max(totals)) for total in totals] if rule == "weighted" else totals
    confidences = tuple(weight / math.fsum(weights) for weight in weights)
    tied = [place for place, total in enumerate(totals) if math.isclose(total, max(totals), abs_tol=1e-12)]
    if len(cast) == 1:
        return Decision(cast[0][0], confidences)
    if len(tied) == 1:
        return Decision(tied[0], confidences)
    return Decision(_broken(tied, cast, tie, members), confidences)


def _broken(tied: list[int], cast: list[tuple[int, int]], tie: Tie, members: Sequence[Member] | None) -> int | None:
    for_tied = [(place, voter) for place, voter in cast if place in tied]
    if tie == "abstain" or not for_tied:
        return None
    if tie == "first" or members is None:
        return for_tied[0][0]
    return max(for_tied, key=lambda one: members[one[1]].accuracy)[0]


def risk_coverage(confidences: Sequence[float], right: Sequence[bool]) -> list[tuple[float, float]]:
    """(share answered, share wrong of those) when only the most confident are answered, one point for each distinct confidence.

    Equal confidences come together, since no threshold parts them. Raises ValueError for nothing.
    """
    if len(confidences) != len(right) or not right:
        raise ValueError(f"{len(confidences)} confidences and {len(right)} outcomes give no curve")
    order = sorted(range(len(right)), key=lambda place: -confidences[place])
    points, wrong = [], 0
    for answered, place in enumerate(order, start=1):
        wrong += not right[place]
        if answered == len(order) or confidences[order[answered]] != confidences[place]:
            points.append((answered / len(order), wrong / answered))
    return points


def kappa(first: Sequence[int | None], second: Sequence[int | None]) -> float:
    """Cohen's kappa of two members on the questions that both answered; nan where chance alone would make them agree always, or
    on none."""
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not both:
        return math.nan
    agreed = sum(a == b for a, b in both) / len(both)
    options = {place for pair in both for place in pair}
    by_chance = sum(sum(a == option for a, _ in both) * sum(b == option for _, b in both) / len(both) ** 2 for option in options)
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan
