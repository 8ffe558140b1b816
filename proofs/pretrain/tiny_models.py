"""A tiny BERT that was pretrained on documentation sorts documents better than the same network fine-tuned from random weights.

Both arms have the same fine-tuning and test documents. Contradicted if the pretrained one's accuracy, over four seeds, is below the other's
by an interval that excludes 0; not shown if it does not lie above. What was found of the committee is in the notes, for one claim is tested
here: a committee of one-layer models against the deep one, and against as many fine-tunings of one pretraining.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from statistics import fmean

from metier.core.evidence import Evidence, paired
from metier.engines.data.read import read
from metier.engines.data.sample import sample
from metier.pretrain.tiny_models import tiny_models
from metier.pretrain.tiny_models.labelled import Labelled, labelled
from metier.pretrain.tiny_models.results import Findings


def prove(quick: bool) -> Evidence:
    """Accuracies on ten modules of the standard library; quick: three seeds of a fifth of the work."""
    seeds = range(3) if quick else range(4)
    settings = {"characters": 60_000 if quick else 300_000, "per_class": 12 if quick else 60, "members": 2}
    evidence = paired(
        lambda seed, **given: _accuracy("deep", seed, **given),
        lambda seed, **given: _accuracy("deep, not pretrained", seed, **given),
        claim="a pretrained tiny encoder classifies better than the same one fine-tuned from random weights",
        metric="share of test documents classified right",
        better="higher",
        seeds=seeds,
        settings=settings,
    )
    return _noted(evidence, [_findings(seed, **settings) for seed in seeds])


def _noted(evidence: Evidence, found: list[Findings]) -> Evidence:
    from dataclasses import replace

    means = {
        one.arm: fmean(value.value for findings in found for value in findings.accuracies if value.arm == one.arm)
        for one in found[0].accuracies
    }
    arms = ", ".join(f"{arm} {value:.3f}" for arm, value in means.items())
    return replace(
        evidence,
        notes=f"3 layers and members of 1, of 64 units; mean accuracies over seeds: {arms}; some member right {fmean(one.oracle for one in found):.3f}, "
        f"two members differ on {fmean(one.disagreement for one in found):.3f}; overlap of tokens {found[0].overlap:.3f}",
    )


def _accuracy(arm: str, seed: int, **settings: int) -> float:
    return next(one.value for one in _findings(seed, **settings).accuracies if one.arm == arm)


@cache
def _findings(seed: int, characters: int, per_class: int, members: int) -> Findings:
    parts = _parts(per_class)
    with tempfile.TemporaryDirectory() as folder:
        return tiny_models(
            sample(parts.texts, characters=characters, by=None, seed=seed),
            parts.train,
            parts.test,
            layers=(3, 1),
            hidden_size=64,
            heads=4,
            members=members,
            vocabulary=2048,
            epochs=(3.0, 6.0),
            learning_rate=2e-3,
            sequence_length=64,
            seed=seed,
            workdir=Path(folder),
        ).findings


@cache
def _parts(per_class: int) -> Labelled:
    return labelled(read(source="python:stdlib"), classes=10, per_class=(per_class, 40))
