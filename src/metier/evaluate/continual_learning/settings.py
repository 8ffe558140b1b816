"""Settings of the stages and of the strategies, by group. Light: the method's signature needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from metier.engines.train.adapter import Adapter

Strategy = Literal["sequential", "replay", "ewc", "l2sp", "lora", "adapters"]


@dataclass(frozen=True)
class Training:
    """How each stage trains. sequence_length: tokens of a row; batch_tokens: of a step, rounded to whole rows; `adapter` and its
    learning rate are for the strategies lora and adapters, all others train every weight."""

    epochs: float = 1.0
    learning_rate: float = 1e-4
    adapter_learning_rate: float = 1e-3
    sequence_length: int = 1024
    batch_tokens: int = 4096
    warmup: float = 0.05
    adapter: Adapter = field(default_factory=Adapter)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.batch_tokens < 1 or self.sequence_length < 2:
            raise ValueError(
                f"batch_tokens={self.batch_tokens}, sequence_length={self.sequence_length} train nothing: give 1 and 2 or more"
            )


@dataclass(frozen=True)
class Replay:
    """What is kept of past tasks and trained again.

    ratio: replayed tokens for each new one; 0.1 is TRACE's
    buffer_rows: sequences kept, a fair sample of all past ones
    budget: "task" replays on top of a task's own tokens; "total" takes as many steps as without replay, with fewer new tokens
    no_replay: sources that are never kept (what may be trained on once, and not stored)
    """

    ratio: float = 0.1
    buffer_rows: int = 1000
    budget: Literal["task", "total"] = "task"
    no_replay: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 < self.ratio < float("inf"):
            raise ValueError(f"replay ratio={self.ratio} replays nothing: give a positive number, such as 0.1")
        if self.buffer_rows < 1:
            raise ValueError(f"replay buffer_rows={self.buffer_rows} keeps nothing: give 1 or more")


@dataclass(frozen=True)
class Elastic:
    """The penalties of ewc and l2sp, both anchored at the weights that the stage before ended with.

    strength: of EWC, lambda in lambda / 2 * F (theta - theta*)^2; 400 is TRACE's. F is of one predicted token and the loss a
        mean over tokens, so that 1 weighs what was learnt as much as what is new; a diagonal sees little of it, so sweep upwards
    gamma: what stays of the Fisher information of earlier tasks; 1 adds them up
    fisher_rows: sequences of a task that its Fisher information is taken from
    labels: model draws them from the model's own distribution (the Fisher information), data takes the text's
    l2sp: strength of L2-SP, the control with F = 1; 0.1 is its paper's
    """

    strength: float = 400.0
    gamma: float = 1.0
    fisher_rows: int = 512
    labels: Literal["model", "data"] = "model"
    l2sp: float = 0.1

    def __post_init__(self) -> None:
        for name, value in (("strength", self.strength), ("l2sp", self.l2sp)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"elastic {name}={value} holds nothing in place: give 0 or a positive number")
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"elastic gamma={self.gamma} is no share: give a number between 0 and 1")
        if self.fisher_rows < 1:
            raise ValueError(f"elastic fisher_rows={self.fisher_rows} looks at nothing: give 1 or more")
