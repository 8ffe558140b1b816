"""What prompting and tuning cost, and from how many requests on tuning pays."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Costs:
    """All in one currency.

    input_tokens, output_tokens: of a request that is prompted, instructions and examples included
    input_price, output_price: of a million tokens
    tuned_request: what a request costs the tuned model, machine included
    labels: to be bought; label_price: of one
    training_hours; hour_price: of the machine
    upkeep: of the tuned model a month; months: how long it is in use
    requests: a month
    """

    input_tokens: float
    output_tokens: float
    input_price: float
    output_price: float
    tuned_request: float
    requests: float
    months: float = 12.0
    labels: float = 0.0
    label_price: float = 0.0
    training_hours: float = 0.0
    hour_price: float = 0.0
    upkeep: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"costs: {field.name}={value} must be a number of 0 or more")

    @property
    def prompted_request(self) -> float:
        return (self.input_tokens * self.input_price + self.output_tokens * self.output_price) / 1e6

    @property
    def fixed(self) -> float:
        """What the tuned model costs before it answers, and to keep."""
        return self.labels * self.label_price + self.training_hours * self.hour_price + self.upkeep * self.months

    @property
    def volume(self) -> float:
        """Requests in all."""
        return self.requests * self.months

    @property
    def break_even(self) -> float:
        """Requests from which on tuning is cheaper; inf where it never is."""
        saved = self.prompted_request - self.tuned_request
        return self.fixed / saved if saved > 0 else math.inf
