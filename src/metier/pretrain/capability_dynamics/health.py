"""Signs that a training went wrong though its loss falls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metier.pretrain.capability_dynamics.curves import Curve, common
from metier.pretrain.capability_dynamics.prediction import line
from metier.pretrain.capability_dynamics.results import Alarm

LEVEL = 3  # checkpoints whose mean is a level: a single best one is mostly luck
STANDARD_ERRORS, TIMES_NOISE = 2.0, 3.0


def alarms(usable: Sequence[Curve], least_tasks: int, least_checkpoints: int) -> list[Alarm]:
    """The alarms of one series, by checkpoint, each raised once, where it begins. usable: its curves with a signal."""
    if not usable:
        return []
    aligned = common(usable[0], *usable[1:])
    return sorted(_falling(aligned, least_tasks, least_checkpoints) + _off_course(aligned), key=lambda alarm: alarm.tokens)


def _falling(curves: Sequence[Curve], least_tasks: int, least_checkpoints: int) -> list[Alarm]:
    fallen = np.array([_fallen(curve) for curve in curves])  # (tasks, checkpoints)
    tokens, loss = curves[0].tokens, curves[0].loss
    known = bool(np.isfinite(loss).all())
    found, raised = [], False
    for end in range(least_checkpoints, len(tokens) + 1):
        lasting = np.asarray(fallen[:, end - least_checkpoints : end].all(axis=1))
        learns = not known or loss[end - 1] < loss[end - least_checkpoints - 1 if end > least_checkpoints else 0]
        alarming = bool(learns and lasting.sum() >= least_tasks)
        if alarming and not raised:
            names = [curve.task for curve, fell in zip(curves, lasting, strict=True) if fell]
            found.append(Alarm(*curves[0].series, float(tokens[end - 1]), "tasks fall", names, known))
        raised = alarming
    return found


def _fallen(curve: Curve) -> np.ndarray:
    """Whether each value lies two standard errors of the difference below the best mean of earlier checkpoints in a row."""
    values, squares = curve.values, curve.stderr**2
    fell = np.zeros(len(values), dtype=bool)
    for place in range(LEVEL, len(values)):
        means = [values[start : start + LEVEL].mean() for start in range(place - LEVEL + 1)]
        best = int(np.argmax(means))
        spread = np.sqrt(squares[place] + squares[best : best + LEVEL].sum() / LEVEL**2)
        fell[place] = means[best] - values[place] > STANDARD_ERRORS * spread
    return fell


def _off_course(curves: Sequence[Curve]) -> list[Alarm]:
    """The first checkpoint at which a task leaves the line on the others of its domain, fitted to all checkpoints before: by more than three
    times what that line left there and more than two standard errors."""
    found = []
    for target in curves:
        others = [curve.values for curve in curves if curve.domain == target.domain and curve.task != target.task]
        for place in range(8, len(target.tokens)) if others else ():
            x, y = np.mean(others, axis=0), target.values
            slope, intercept = line(x[:place], y[:place])
            noise = float(np.std(y[:place] - slope * x[:place] - intercept))
            off = abs(float(y[place] - slope * x[place] - intercept))
            if off > TIMES_NOISE * noise and off > STANDARD_ERRORS * target.stderr[place]:
                known = bool(np.isfinite(target.loss).all())
                found.append(Alarm(*target.series, float(target.tokens[place]), "off course", [target.task], known))
                break
    return found
