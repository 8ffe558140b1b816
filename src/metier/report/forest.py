"""The head-to-head as a forest plot: a row a comparison, grouped by role, turned so that right is always better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metier.artifacts import Comparison
from metier.report import figures
from metier.report.figures import Axis, Tick

NBSP = "\N{NO-BREAK SPACE}"

ROLES = {
    "acquired": ("On its documents", "Questions from documents it was trained on: what it learnt."),
    "held_out": ("On documents held out", "Texts and questions from documents never trained on: whether it generalises."),
    "general": ("General abilities retained", "What the base could do before: whether the training cost it something."),
}


@dataclass(frozen=True)
class Mark:
    """A point with its interval, in percent of the axis."""

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One comparison, drawn: `gain` is the difference turned so that right is better; None where there is no finite interval."""

    comparison: Comparison
    name: str
    gain: Mark | None
    base: Mark | None
    candidate: Mark | None
    chance: float | None
    outcome: str
    difference: str
    interval: str
    base_value: str
    base_interval: str
    candidate_value: str
    candidate_interval: str
    chance_value: str | None
    p: str
    p_holm: str

    @property
    def sentence(self) -> str:
        """What the picture says, for those who don't see it."""
        return (
            f"{self.name}: base {self.base_value} ({self.base_interval}), specialist {self.candidate_value} "
            f"({self.candidate_interval}); difference {self.difference}, 95% interval {self.interval}: {self.outcome}"
        )


@dataclass(frozen=True)
class Block:
    """Rows of one role and one metric, which share two axes: of the values, and of the differences with its zero."""

    metric: str
    unit: str
    turned: bool
    rows: list[Row]
    value_ticks: list[Tick]
    gain_ticks: list[Tick]
    zero: float


@dataclass(frozen=True)
class Group:
    """All blocks of one role."""

    role: str
    title: str
    meaning: str
    blocks: list[Block]
    counts: dict[str, int]


@dataclass(frozen=True)
class Retention:
    """The line on general abilities: `status` is kept, fell or unknown; `fell` names what was lost, with how much."""

    status: str
    sentence: str
    fell: list[str]


def groups(comparisons: Sequence[Comparison]) -> list[Group]:
    """The comparisons by role and metric. Rows of one metric have the same axes in all groups, so that they can be compared."""
    axes: dict[tuple[str, str], tuple[Axis, Axis]] = {}
    for key in {_kind(comparison): None for comparison in comparisons}:
        alike = [comparison for comparison in comparisons if _kind(comparison) == key]
        axes[key] = (_value_axis(alike), Axis.over([0.0, *(number for one in alike for number in _gain(one))]))
    found = []
    for role in [*ROLES, *sorted({one.role for one in comparisons} - set(ROLES))]:
        mine = [one for one in comparisons if one.role == role]
        if not mine:
            continue
        blocks = [_block([one for one in mine if _kind(one) == key], *axes[key]) for key in {_kind(one): None for one in mine}]
        counts = {outcome: sum(one.outcome == outcome for one in mine) for outcome in ("better", "tie", "worse")}
        title, meaning = ROLES.get(role, (role, ""))
        found.append(Group(role, title, meaning, blocks, counts))
    return found


def retention(comparisons: Sequence[Comparison]) -> Retention:
    """Whether a general ability fell beyond its interval, in one sentence."""
    general = [one for one in comparisons if one.role == "general"]
    if not general:
        return Retention("unknown", "General abilities were not measured, so nothing is known of what the training cost.", [])
    fell = [one for one in general if one.outcome == "worse"]
    if not fell:
        which = (
            "the one general ability measured did not fall"
            if len(general) == 1
            else f"none of {len(general)} general abilities fell"
        )
        return Retention("kept", f"Retained: {which} beyond its interval.", [])
    told = [
        f"{readable(one.task)} {figures.difference(one.difference, one.metric)} [{_interval(one.low, one.high, one.metric)}]"
        for one in fell
    ]
    return Retention("fell", f"Lost: {len(fell)} of {len(general)} general abilities fell beyond the interval.", told)


def readable(task: str) -> str:
    """A task's name with spaces for underscores."""
    return task.replace("_", " ").strip() or task


def _kind(comparison: Comparison) -> tuple[str, str]:
    return comparison.metric, comparison.better


def _gain(comparison: Comparison) -> tuple[float, float, float]:  # low, middle, high, turned so that more is better
    if comparison.better == "higher":
        return comparison.low, comparison.difference, comparison.high
    return -comparison.high, -comparison.difference, -comparison.low


def _value_axis(comparisons: Sequence[Comparison]) -> Axis:
    if comparisons[0].metric in figures.SHARES:
        return Axis(-0.03, 1.03)
    return Axis.over([number for one in comparisons for number in (*_base(one), *_candidate(one))])


def _base(one: Comparison) -> tuple[float, float, float]:
    return one.base_low, one.base, one.base_high


def _candidate(one: Comparison) -> tuple[float, float, float]:
    return one.candidate_low, one.candidate, one.candidate_high


def _block(comparisons: Sequence[Comparison], values: Axis, gains: Axis) -> Block:
    metric, better = _kind(comparisons[0])
    sign, share = (1 if better == "higher" else -1), metric in figures.SHARES
    gain_ticks = gains.ticks(unit=sign * (100 if share else 1), signed=True)
    value_ticks = values.ticks(4, unit=100 if share else 1, suffix="%" if share else "")
    rows = [_row(one, values, gains) for one in comparisons]
    return Block(metric, "points" if share else metric, better == "lower", rows, value_ticks, gain_ticks, gains.at(0))


def _row(one: Comparison, values: Axis, gains: Axis) -> Row:
    return Row(
        comparison=one,
        name=readable(one.task),
        gain=_mark(gains, *_gain(one)),
        base=_mark(values, *_base(one)),
        candidate=_mark(values, *_candidate(one)),
        chance=values.at(one.chance) if one.chance is not None else None,
        outcome=one.outcome,
        difference=figures.difference(one.difference, one.metric),
        interval=_interval(one.low, one.high, one.metric),
        base_value=figures.value(one.base, one.metric),
        base_interval=_range(one.base_low, one.base_high, one.metric),
        candidate_value=figures.value(one.candidate, one.metric),
        candidate_interval=_range(one.candidate_low, one.candidate_high, one.metric),
        chance_value=figures.value(one.chance, one.metric).replace(".0%", "%") if one.chance is not None else None,
        p=figures.p_value(one.p),
        p_holm=figures.p_value(one.p_holm),
    )


def _mark(axis: Axis, low: float, middle: float, high: float) -> Mark | None:
    if not all(math.isfinite(number) for number in (low, middle, high)):
        return None
    return Mark(axis.at(middle), axis.at(low), axis.at(high))


def _interval(low: float, high: float, metric: str) -> str:  # of a difference: signed, the unit said elsewhere
    return f"{figures.difference(low, metric).split(NBSP)[0]} to {figures.difference(high, metric).split(NBSP)[0]}"


def _range(low: float, high: float, metric: str) -> str:  # of a value
    return f"{figures.value(low, metric).removesuffix('%')} to {figures.value(high, metric)}"
