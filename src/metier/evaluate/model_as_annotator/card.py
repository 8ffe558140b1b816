"""The card that labels come with: what is known of how right they are. Intervals are (value, low, high) at 95%."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metier.engines.stats.bootstrap import Interval


@dataclass(frozen=True)
class AgainstPeople:
    """Is the model as good as one of the annotators?

    people, model: mean agreement of each person, and of the model, with the majority of the other persons, on the same items
    difference: model minus people, paired by item; as_good: its lower end lies above -margin
    alpha_people, alpha_with_model: Krippendorff's alpha of the persons alone, and with the model as one more; None where undefined
    """

    num_items: int
    people: float
    model: float
    difference: Interval
    margin: float
    as_good: bool
    alpha_people: Interval | None
    alpha_with_model: Interval | None


@dataclass(frozen=True)
class Share:
    """How much of all rows has a label: as the model said, as estimated from its labels and people's (the number to publish), and as
    corrected by the confusion table, None where that can't be inverted. `estimated` is None unless people's rows were drawn at random."""

    said: float
    estimated: Interval | None
    corrected: float | None


@dataclass(frozen=True)
class Routing:
    """Give people the rows whose `share` is below `threshold`: the others have `precision` on people's rows. coverage: their part."""

    threshold: float
    precision: Interval
    coverage: float


@dataclass(frozen=True)
class Measured:
    """The model against people's labels on the rows that have them; a row's true label is their majority, the first in `labels` if equal.

    accuracy: exact binomial interval; a row without a readable label counts as wrong
    kappa, ac1: model with majority, readable rows; kappa with quadratic weights for ordinal labels; None where all labels are the same
    prevalence: share of each true label: kappa is low where one is frequent, ac1 is not
    confusion: counts, row true label, column what the model said, last column unreadable
    precision, recall: of each label, exact binomial; None where it was never said, or is never true
    calibration_error: mean distance of `share` from accuracy among rows with that share
    routing: None where no share is precise enough
    """

    num_items: int
    accuracy: Interval
    kappa: Interval | None
    ac1: Interval | None
    prevalence: dict[str, float]
    confusion: list[list[int]]
    precision: dict[str, Interval | None]
    recall: dict[str, Interval | None]
    calibration_error: float
    shares: dict[str, Share]
    routing: Routing | None
    against_people: AgainstPeople | None


@dataclass(frozen=True)
class Trust:
    """model: its source; prompt: hash of everything asked but the items; answer_tokens: written in all
    unread: share of votes that named no label; order_flips: share of rows whose votes differ, which one without bias of order has at 0
    measured: None without rows labelled by people; warnings: what makes numbers here weaker than they look
    """

    model: str
    prompt: str
    labels: list[str]
    num_rows: int
    num_votes: int
    answer_tokens: int
    unread: float
    order_flips: float
    measured: Measured | None
    warnings: list[str]
