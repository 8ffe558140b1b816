"""What a study of checkpoints found, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["usable", "late", "noise", "too few"]


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval; low and high None where it has none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Signal:
    """Whether a task tells anything of a series (a model under one setup).

    gain: rise of the isotonic fit, rescaled so that chance is 0 and all right is 1; gain_in_stderr: the same in standard errors of the last
        checkpoint; noise: standard deviation about that fit; rho: Spearman's, with log tokens
    verdict: usable where gain > 5 noise and rho > 0.7 (or as set) over all checkpoints, late where only from `since` on, else noise; "too
        few" below 4 checkpoints
    since: tokens of the first checkpoint from which on value less 1.96 standard errors stays above chance; None for never
    falls: rho below -0.7 (or as set): it gets worse with training. A curve that rises and sinks back is noise by this rule, for it tells
        nothing of progress; gain_in_stderr shows that it rose
    """

    model: str
    setup: str
    task: str
    domain: str
    checkpoints: int
    gain: float
    gain_in_stderr: float
    noise: float
    rho: float
    verdict: Word
    since: float | None
    falls: bool


@dataclass(frozen=True)
class Similarity:
    """Curves of one task of two models at common token counts: Pearson's r (None for a constant one), and the mean absolute error of the
    smaller's, scaled and shifted to fit, in shares of items."""

    task: str
    setup: str
    smaller: str
    larger: str
    checkpoints: int
    r: float | None
    error: float


@dataclass(frozen=True)
class Prediction:
    """How well the checkpoints after the early ones were foreseen: mean absolute errors in shares of items, means over `series`.

    by: "other tasks" of the domain, or a "smaller model"; persistence: the last early value; trend: the line through the early values on
        log tokens; stderr: of an item share at those checkpoints, the error that no prediction gets below
    advantage: persistence less error; its interval by bootstrap over series, None for fewer than 3
    verdict: "predictable" where the interval lies above 0 and the error is below the trend's, too; "worse than persistence" where it
        lies below 0; else "not predictable yet"
    """

    task: str
    by: Literal["other tasks", "smaller model"]
    series: int
    error: float
    persistence: float
    trend: float
    stderr: float
    advantage: Interval
    verdict: Literal["predictable", "not predictable yet", "worse than persistence"]


@dataclass(frozen=True)
class Lag:
    """Correlation of a domain's step from checkpoint i to i + 1 with another's `checkpoints` later, given the other's own step at i.

    r: mean over series; p: two-sided, by permutation within series; adjusted: Holm's over all pairs and lags tested
    """

    leader: str
    follower: str
    checkpoints: int
    series: int
    r: float
    p: float
    adjusted: float


@dataclass(frozen=True)
class Law:
    """Errors fall as floor + scale (tokens / first)^-exponent, first: tokens of the first checkpoint that was fitted.

    error: 1 less the rescaled value, so that guessing is 1; trusted_until: twice the tokens seen, beyond which nothing is promised
    reason: why the curve may not be read beyond the data, else ""
    """

    model: str
    setup: str
    task: str
    floor: Interval
    scale: Interval
    exponent: Interval
    first: float
    trusted_until: float
    reason: str

    def error(self, tokens: float) -> float:
        return self.floor.value + self.scale.value * float((tokens / self.first) ** -self.exponent.value)


@dataclass(frozen=True)
class Alarm:
    """kind "tasks fall": these usable tasks lie more than two standard errors below their earlier level for several checkpoints, while the
    loss falls (or is not known); "off course": the task left what the others of its domain predict by more than three times the noise."""

    model: str
    setup: str
    tokens: float
    kind: Literal["tasks fall", "off course"]
    tasks: list[str]
    loss_known: bool


@dataclass(frozen=True)
class Change:
    """Mean over a domain's tasks of last less first checkpoint, rescaled, with the normal interval of the items' standard errors."""

    model: str
    setup: str
    domain: str
    tasks: int
    change: Interval


@dataclass(frozen=True)
class Findings:
    """keep: tasks usable or late in most series, which are worth asking at every checkpoint; drop: noise in most; notes: what was averaged,
    scaled, or left undone"""

    signals: list[Signal]
    similarities: list[Similarity]
    predictions: list[Prediction]
    lags: list[Lag]
    laws: list[Law]
    alarms: list[Alarm]
    changes: list[Change]
    keep: list[str]
    drop: list[str]
    notes: list[str]
