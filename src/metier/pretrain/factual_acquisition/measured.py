"""Probes measured while a training runs, and what their curves say of each arm, depth and fact."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metier.artifacts import Model, Table
from metier.engines.train.trainer import Step
from metier.pretrain.factual_acquisition import curves
from metier.pretrain.factual_acquisition.probes import DEPTHS, Probe, Scorer, sequence_of
from metier.pretrain.factual_acquisition.results import Group, Spacing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DISTRACTORS = 3
SPACINGS = (1, 10, 100, 1_000, 10_000)
_HALF = 0.5

Asked = Sequence[tuple[str, Probe]]  # with the arm


class Watcher:
    """Measures probes after the steps that are due and keeps a line of each, so that a resumed training has them all."""

    def __init__(self, asked: Asked, tokenizer: PreTrainedTokenizerBase, model: Model, due: set[int], file: Path) -> None:
        longest = getattr(model.config(), "max_position_embeddings", None) or 1 << 30
        self._due, self._file, self._first = due, file, min(due)
        self._scorer = Scorer([sequence_of(probe, tokenizer) for _, probe in asked], longest)
        others = [
            [
                sequence_of(Probe(probe.fact, probe.depth, probe.context, target), tokenizer)
                for target in distractors(probe, asked)
            ]
            for _, probe in asked
        ]
        self._counts = [len(one) for one in others]
        self._others = Scorer([sequence for one in others for sequence in one], longest)

    def __call__(self, step: Step) -> Mapping[str, Any]:
        if step.step not in self._due:
            return {}
        means, firsts = self._scorer(step.network)
        line: dict[str, Any] = {"step": step.step, "logprob": means, "first": firsts}
        if step.step == self._first:
            scores = iter(self._others(step.network)[0])
            line["others"] = [max((next(scores) for _ in range(count)), default=None) for count in self._counts]
        if os.environ.get("RANK", "0") == "0":  # all processes measure, since all must take part in a pass; one writes
            with self._file.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return {"probes": sum(means) / len(means)}

    def read(self) -> list[dict[str, Any]]:
        """The lines by step; of a step that was measured twice the last."""
        lines = {line["step"]: line for line in map(json.loads, self._file.read_text().splitlines())}
        return [lines[step] for step in sorted(lines)]


def distractors(probe: Probe, asked: Asked) -> list[str]:
    """Up to three targets that other facts have at the same depth, all different and none the probe's own: those next in the list."""
    same = [other for _, other in asked if other.depth == probe.depth]
    at = same.index(probe)
    after = [other.target for other in [*same[at + 1 :], *same[:at]] if other.fact != probe.fact and other.target != probe.target]
    return list(dict.fromkeys(after))[:DISTRACTORS]


class Measured:
    """The curves of all probes. lines: as a Watcher read them."""

    def __init__(
        self, asked: Asked, lines: Sequence[Mapping[str, Any]], encounters: Sequence[int], window: int, iqr: float, seed: int
    ) -> None:
        self._asked, self._encounters, self._window, self._iqr, self._seed = asked, list(encounters), window, iqr, seed
        self._steps = np.array([line["step"] for line in lines])
        self._values_PT = np.array([line["logprob"] for line in lines]).T
        self._firsts_PT = np.array([line["first"] for line in lines]).T
        self._others = lines[0]["others"]

    @cached_property
    def _groups(self) -> list[tuple[str, str, list[int]]]:
        arms = list(dict.fromkeys(arm for arm, _ in self._asked))
        found = [
            (arm, depth, [n for n, (own, probe) in enumerate(self._asked) if (own, probe.depth) == (arm, depth)])
            for arm in arms
            for depth in DEPTHS
        ]
        return [group for group in found if group[2]]

    def _met(self, arm: str) -> list[int]:
        return self._encounters[:1] if arm == "once" else self._encounters

    def groups(self) -> list[Group]:
        """Arm by arm and depth by depth."""
        return [self._group(arm, depth, numbers) for arm, depth, numbers in self._groups]

    def _group(self, arm: str, depth: str, numbers: Sequence[int]) -> Group:
        facts = [self._asked[number][1].fact for number in numbers]
        met = self._met(arm)
        effects = self._effects(numbers, met)
        control = next((found for name, deep, found in self._groups if (name, deep) == ("control", depth) and arm != name), None)
        lags = curves.lags_until(int(self._steps[-1]) - met[-1] - self._window)
        shares = {n: curves.retainability(self._steps, self._values_PT[n], met, self._window, lags) for n in numbers}
        defined = {n: share for n, share in shares.items() if share is not None}
        forgetting = None
        if arm != "control" and len(defined) >= 2 and len(lags) >= curves.FEWEST_LAGS:
            names = [self._asked[n][1].fact for n in defined]
            forgetting = curves.forgetting(lags, np.array(list(defined.values())), names, iqr=self._iqr, seed=self._seed)
        known = [self._values_PT[n, 0] > self._others[n] for n in numbers if self._others[n] is not None]
        return Group(
            arm=arm,
            depth=depth,
            facts=len(set(facts)),
            probes=len(numbers),
            effectivity=curves.mean_over_facts(effects, facts, seed=self._seed),
            beyond_control=curves.difference_over_facts(
                effects, facts, self._effects(control, met), [self._asked[n][1].fact for n in control], seed=self._seed
            )
            if control is not None
            else None,
            gain=curves.mean_over_facts([self._gain(n) for n in numbers], facts, seed=self._seed),
            undefined=len(numbers) - len(defined),
            forgetting=forgetting,
            known_before=float(np.mean(known)) if known else None,
        )

    def _effects(self, numbers: Sequence[int], met: Sequence[int]) -> list[float]:
        return [float(curves.effectivity(self._steps, self._values_PT[n], met, self._window).mean()) for n in numbers]

    def _gain(self, number: int) -> float:
        return float(self._values_PT[number, -1] - self._values_PT[number, 0])

    def plan(self) -> list[Spacing]:
        """Encounters needed at several spacings to halve what an answer costs before the first one, in nats per token."""
        found = []
        for group, (_, _, numbers) in zip(self.groups(), self._groups, strict=True):
            if group.forgetting is None or group.effectivity.low is None:
                continue
            target = -_HALF * float(self._values_PT[numbers, 0].mean())
            found += [_spacing(group, steps, target) for steps in SPACINGS]
        return found

    def curves(self) -> Table:
        """A row for each probe and step."""
        rows = [
            {
                "fact": probe.fact,
                "arm": arm,
                "depth": probe.depth,
                "probe": f"{probe.context} [{probe.target}]",
                "step": int(step),
            }
            | {"logprob": float(value), "first": float(first)}
            for (arm, probe), values, firsts in zip(self._asked, self._values_PT, self._firsts_PT, strict=True)
            for step, value, first in zip(self._steps, values, firsts, strict=True)
        ]
        return Table.from_rows(rows)

    def facts(self) -> Table:
        """A row for each fact: its gains by depth in nats per token, and whether it needs paraphrase."""
        return Table.from_rows(self._fact_rows())

    def _fact_rows(self) -> Iterator[dict[str, Any]]:
        by_fact: dict[str, dict[str, list[float]]] = {}
        arms = {}
        for number, (arm, probe) in enumerate(self._asked):
            by_fact.setdefault(probe.fact, {}).setdefault(probe.depth, []).append(self._gain(number))
            arms[probe.fact] = arm
        for fact, gains in by_fact.items():
            means = {depth: float(np.mean(gains[depth])) if depth in gains else None for depth in DEPTHS}
            wording, meaning = means[DEPTHS[0]], means[DEPTHS[1]]
            needs = wording is not None and meaning is not None and wording > 0 and meaning < _HALF * wording
            yield {
                "fact": fact,
                "arm": arms[fact],
                **{f"gain_{d}": value for d, value in means.items()},
                "needs_paraphrase": needs,
            }


def _spacing(group: Group, steps: int, target: float) -> Spacing:
    line, effect = group.forgetting, group.beyond_control or group.effectivity
    assert line is not None
    assert effect.value is not None and line.decay.value is not None
    decade = float(np.log10(steps))
    middle = line.intercept - line.decay.value * decade

    def needed(gain: float | None, decay: float | None) -> int | None:
        kept = middle if decay is None else line.intercept - decay * decade
        return curves.repetitions(gain if gain is not None else 0.0, kept, target)

    return Spacing(
        arm=group.arm,
        depth=group.depth,
        steps=steps,
        target=target,
        needed=needed(effect.value, None),
        low=needed(effect.high, line.decay.low),
        high=needed(effect.low, line.decay.high),
    )
