"""What a study of factual acquisition found, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval; None where it has none."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Forgetting:
    """The line retained = intercept - decay * log10(lag), least squares over the mean of the probes, lags of 1 step and more.

    The paper calls this a power law; what is fitted is a straight line in the logarithm of time. decay: share lost in each tenfold time,
    interval by bootstrap over facts; standard_error, r_squared: of the regression; lost_after: steps at which the line is 0 (None where
    it does not fall); errors: root mean square error of each form over the last third of the lags, fitted to the lags before: log_linear,
    power (c t^-p), exponential (c e^(-t/T)); best: the form with the least
    """

    decay: Interval
    intercept: float
    standard_error: float
    r_squared: float
    lost_after: Interval
    errors: dict[str, float]
    best: str


@dataclass(frozen=True)
class Group:
    """What became of the probes of one arm and depth.

    effectivity: nats per token that an encounter adds, mean over probes and encounters, by bootstrap over facts. It is the height of a
        maximum, so that a curve which only fluctuates has some, too: see `control`, which is measured at the same steps and never met
        its facts
    beyond_control: effectivity less that of `control` at the same steps and depth, which is what the encounter did; None without one
    gain: nats per token between before the first encounter and the last step
    forgetting: None for control, and where `undefined` (probes that gained nothing, which have no share to lose) leaves under two
    known_before: share of probes whose target was likelier than those of three other facts before anything was injected; chance is
        1/4; None where no other fact has another target
    """

    arm: str
    depth: str
    facts: int
    probes: int
    effectivity: Interval
    beyond_control: Interval | None
    gain: Interval
    undefined: int
    forgetting: Forgetting | None
    known_before: float | None


@dataclass(frozen=True)
class Spacing:
    """How often a fact must be met, `steps` apart, until its answer costs `target` nats per token less than before.

    By the arm's own effectivity (beyond the control's where there is one) and line of forgetting; low and high by their intervals. None: never, at any number.
    """

    arm: str
    depth: str
    steps: int
    target: float
    needed: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True)
class Findings:
    """groups: by arm and depth; plan: by arm, depth and spacing; tokens_per_step: turns steps into tokens; learning_rate: of the run,
    for forgetting goes with it (the paper finds late checkpoints forget less only because theirs is smaller)"""

    groups: list[Group]
    plan: list[Spacing]
    tokens_per_step: int
    learning_rate: float
    encounters: list[int]
