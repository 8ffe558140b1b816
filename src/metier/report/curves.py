"""Loss curves of training: the whole, each of the largest sources, and what became of the held-out sources."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.core.lineage import StageRecord
from metier.report import figures
from metier.report.figures import Axis, Tick

NUM_PANELS = 6
NUM_CHANGES = 12
MOST_POINTS = 500  # of one line: more than a screen has columns to show

Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """Losses over tokens. `raw` and `smooth` are SVG points in a square of 100 by 100; `held_out` are places in percent."""

    name: str
    raw: str
    smooth: str
    held_out: list[Point]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    window: int
    sentence: str


@dataclass(frozen=True)
class Change:
    """One held-out source: loss at the first and last measurement, in nats per token, and their places in percent."""

    source: str
    first: str
    last: str
    first_at: float
    last_at: float
    change: str
    better: bool


@dataclass(frozen=True)
class Training:
    """What the metrics of one training stage show."""

    stage: str
    summary: str
    whole: Chart
    panels: list[Chart]
    num_sources: int
    changes: list[Change]
    num_changes: int
    num_better: int
    change_ticks: list[Tick]
    not_finite: int


def trainings(records: Sequence[StageRecord]) -> list[Training]:
    """One entry for each stage that logged losses."""
    found = []
    for record in records:
        lines = record.metrics()
        if any("loss" in line or "held_out_loss" in line for line in lines):
            found.append(_training(record.name, lines))
    return found


def trained_tokens(record: StageRecord) -> float:
    """How many tokens a stage had trained on at its last step; 0 for one that trained on none."""
    return max((line["tokens"] for line in record.metrics() if "tokens" in line), default=0)


def _training(stage: str, lines: Sequence[Mapping[str, Any]]) -> Training:
    loss = _series(lines, "loss")
    held_out = _series(lines, "held_out_loss")
    sources = _by_source(lines, "losses")
    held_sources = _by_source(lines, "held_out")
    largest = [name for name, _ in Counter({name: len(points) for name, points in sources.items()}).most_common(NUM_PANELS)]
    x_axis = Axis(0.0, max((x for x, _ in [*loss, *held_out]), default=1.0) or 1.0)
    everything = [point for name in largest for point in sources[name]]
    panel_axis = _loss_axis(everything, [])
    panels = [_chart(name, sources[name], held_sources.get(name, []), x_axis, panel_axis) for name in largest if len(sources) > 1]
    changes, ticks = _changes(held_sources)
    values = [line[key] for line in lines for key in ("loss", "held_out_loss") if key in line]
    return Training(
        stage=stage,
        summary=_summary(loss, held_out),
        whole=_chart("all sources", loss, held_out, x_axis, _loss_axis(loss, held_out)),
        panels=panels,
        num_sources=len(sources),
        changes=[*changes[: NUM_CHANGES // 2], *changes[-NUM_CHANGES // 2 :]] if len(changes) > NUM_CHANGES else changes,
        num_changes=len(changes),
        num_better=sum(change.better for change in changes),
        change_ticks=ticks,
        not_finite=sum(value is None or not math.isfinite(value) for value in values),
    )


def _series(lines: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    """(tokens, loss) by tokens; a step logged twice, as a run that was resumed may, counts as logged last."""
    return sorted({line["tokens"]: line[key] for line in lines if key in line and _finite(line[key])}.items())


def _by_source(lines: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[Point]]:
    found: dict[str, dict[float, float]] = {}
    for line in lines:
        for source, loss in line.get(key, {}).items():
            if _finite(loss):
                found.setdefault(source, {})[line["tokens"]] = loss
    return {source: sorted(points.items()) for source, points in found.items()}


def _finite(number: float | None) -> bool:
    return number is not None and math.isfinite(number)


def _loss_axis(raw: Sequence[Point], held_out: Sequence[Point]) -> Axis:
    """Holds all but the most extreme hundredth of the single steps on either side: one bad batch must not flatten the curve."""
    losses = sorted(loss for _, loss in raw)
    cut = len(losses) // 100
    return Axis.over([*losses[cut : len(losses) - cut], *(loss for _, loss in held_out)], margin=0.08)


def _chart(name: str, raw: list[Point], held_out: list[Point], x_axis: Axis, y_axis: Axis) -> Chart:
    window = 2 * (len(raw) // 30) + 1  # odd, a fifteenth of the curve
    smooth = _smooth(raw, window)
    return Chart(
        name=name,
        raw=_line(raw, x_axis, y_axis),
        smooth=_line(smooth, x_axis, y_axis),
        held_out=[(x_axis.at(x), 100 - y_axis.at(y)) for x, y in held_out],
        x_ticks=[Tick(figures.compact(number), at) for number, at in x_axis.places(4)],
        y_ticks=[Tick(tick.label, 100 - tick.at) for tick in y_axis.ticks(4)],
        window=window,
        sentence=f"Loss of {name} in nats per token over tokens trained. {_summary(smooth, held_out)}",
    )


def _smooth(points: list[Point], window: int) -> list[Point]:
    """The mean of the points within half a window on either side of each; at both ends, of those there are."""
    sums = [0.0]
    for _, loss in points:
        sums.append(sums[-1] + loss)
    smooth = []
    for index, (tokens, _) in enumerate(points):
        first, last = max(0, index - window // 2), min(len(points), index + window // 2 + 1)
        smooth.append((tokens, (sums[last] - sums[first]) / (last - first)))
    return smooth


def _line(points: Sequence[Point], x_axis: Axis, y_axis: Axis) -> str:
    stride = max(1, math.ceil(len(points) / MOST_POINTS))
    shown = [*points[:-1:stride], *points[-1:]]
    return " ".join(f"{x_axis.at(x):g},{100 - y_axis.at(y):.5g}" for x, y in shown)


def _changes(held_out: Mapping[str, list[Point]]) -> tuple[list[Change], list[Tick]]:
    """Held-out sources measured at least twice, from the one that gained most to the one that gained least."""
    ends = {source: (points[0][1], points[-1][1]) for source, points in held_out.items() if len(points) > 1}
    axis = Axis.over([loss for pair in ends.values() for loss in pair])
    changes = [
        Change(
            source=source,
            first=figures.value(first, "loss"),
            last=figures.value(last, "loss"),
            first_at=axis.at(first),
            last_at=axis.at(last),
            change=figures.difference(last - first, "loss"),
            better=last < first,
        )
        for source, (first, last) in sorted(ends.items(), key=lambda item: item[1][1] - item[1][0])
    ]
    return changes, axis.ticks(4)


def _summary(loss: Sequence[Point], held_out: Sequence[Point]) -> str:
    for what, points in (("held-out", held_out), ("training", loss)):
        if len(points) > 1:
            first, last = points[0][1], points[-1][1]
            verb = "fell" if last < first else "rose" if last > first else "stayed"
            return (
                f"The {what} loss {verb} from {figures.value(first, 'loss')} to {figures.value(last, 'loss')} nats per token "
                f"over {figures.compact(points[-1][0])} tokens."
            )
    return "Only one measurement was logged."
