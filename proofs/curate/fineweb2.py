"""Repeats, rules and thresholds are what the paper's formulas say, and a rule loses no more than its tenth of good text it has
not seen.

Contradicted if one of the 56 published tables of repeats (7 languages, caps 3 to 10) comes out otherwise, if a rule misses its
closed form by more than 1e-9, or if on held-out documentation a rule of "ten_tail" loses more than it may: split at random, n
documents set a threshold that k of them lie beyond, and of the others it loses (k + 1) / (n + 1) on average, or less where values
are equal. The mean over many splits may exceed that by five standard errors, no more.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np

from metier.core.evidence import Check, Evidence, exact
from metier.engines.data import stdlib
from metier.engines.data.page_statistics import STATISTICS, measure
from metier.engines.data.rehydrate import repeat_table
from metier.engines.data.thresholds import Threshold, derive, share_lost
from metier.engines.data.words import words

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "curate" / "rehydration"
QUALITY = [name for name, statistic in STATISTICS.items() if statistic.group == "quality"]
FEWEST_WORDS = 20


def prove(quick: bool) -> Evidence:
    """Tables where they lie beside the checkout and random ones; rules on random samples; documentation of the standard
    library."""
    checks = [_random_tables(50 if quick else 2000), *_rules(20 if quick else 500)]
    notes = "the published tables are not beside the checkout: only random ones were compared. "
    if PUBLISHED.is_dir():
        checks.insert(0, _published_tables())
        notes = "published tables of huggingface/fineweb-2. "
    lost, told = _held_out(2000 if quick else None, 50 if quick else 200)
    return exact(
        claim="repeats and thresholds are those of the paper's formulas; each rule loses a tenth of good text and no more",
        metric="largest difference",
        checks=[*checks, *lost],
        notes=notes + told,
    )


def _published_tables() -> Check:
    published = json.loads((PUBLISHED / "published_weights.json").read_text())
    wrong = 0
    for most, tables in published.items():
        for language, expected in tables.items():
            found = json.loads((PUBLISHED / f"{language}.json").read_text())
            sizes = [*found["cluster_sizes"], found["tail_threshold"]]
            rates = [*found["cluster_removal_rates"], found["tail_removal_rate"]]
            table = repeat_table(sizes, rates, found["global_removal_rate"], most=int(most))
            wrong += {str(size): repeats for size, repeats in table.items()} != expected
    return Check(f"published tables ({sum(map(len, published.values()))}) that differ", wrong, 0.5)


def _random_tables(count: int) -> Check:
    wrong = 0
    for seed in range(count):
        generator = random.Random(seed)
        rates = [generator.random() for _ in range(generator.randint(6, 200))]
        overall, most = generator.random(), generator.randint(2, 10)
        table = repeat_table(list(range(1, len(rates) + 1)), rates, overall, most=most)
        repeats, last = [], 1
        for size in range(1, len(rates) + 1):
            last = table.get(size, last)
            repeats.append(last)
        wrong += any(abs(one - exactly) > 0.5 + 1e-9 for one, exactly in zip(repeats, _plain(rates, overall, most), strict=True))
    return Check(f"random tables ({count}) with a number that is not the nearest", wrong, 0.5)


def _plain(rates: list[float], overall: float, most: int) -> list[float]:
    """Repeats before rounding, by the sentence of the paper."""
    lowest = min(rates)
    if lowest >= overall:
        return [1.0] * len(rates)
    raw = [1 + (most - 1) * max(0.0, overall - rate) / (overall - lowest) for rate in rates]
    inner = [math.fsum(raw[place - 2 : place + 3]) / 5 for place in range(2, len(raw) - 2)]
    return [*raw[:2], *inner, *raw[-2:]]


def _rules(count: int) -> list[Check]:
    """A sample that is the English one moved and stretched has its threshold moved and stretched; the tail is counted."""
    worst = dict.fromkeys(("english", "mean_std", "quantile", "median_ratio", "ten_tail"), 0.0)
    statistic = STATISTICS["newlines per word"]
    for seed in range(count):
        generator = np.random.default_rng(seed)
        values, shift, scale = (
            np.append(generator.gamma(2, 0.1, 300), statistic.english),
            generator.uniform(),
            generator.uniform(0.5, 2),
        )
        moved = shift + scale * values
        expected = shift + scale * statistic.english
        worst["english"] = max(worst["english"], abs(derive(statistic, "english", moved).value - statistic.english))
        for rule in ("mean_std", "quantile"):
            worst[rule] = max(worst[rule], abs(derive(statistic, rule, moved, values).value - expected))
        ratio = derive(statistic, "median_ratio", scale * values, values).value
        worst["median_ratio"] = max(worst["median_ratio"], abs(ratio - scale * statistic.english))
        beyond = int(np.sum(moved > derive(statistic, "ten_tail", moved).value))
        worst["ten_tail"] = max(worst["ten_tail"], abs(beyond - len(moved) // 10))
    return [Check(f"rule {rule}", difference, 1e-9) for rule, difference in worst.items()]


def _held_out(most: int | None, num_splits: int) -> tuple[list[Check], str]:
    texts = [row["text"] for row in stdlib.documents() if len(words(row["text"])) >= FEWEST_WORDS]
    random.Random(0).shuffle(texts)
    measured = [measure(text) for text in texts[:most]]
    columns = {name: np.array([values[name] for values in measured]) for name in QUALITY}
    lost: dict[str, list[float]] = {name: [] for name in [*QUALITY, "all"]}
    half = len(measured) // 2
    for split in range(num_splits):
        order = np.random.default_rng(split).permutation(len(measured))
        held = {name: values[order[half:]].tolist() for name, values in columns.items()}
        limits = {name: derive(STATISTICS[name], "ten_tail", values[order[:half]]) for name, values in columns.items()}
        for name in QUALITY:
            lost[name].append(share_lost({name: held[name]}, {name: limits[name]}))
        lost["all"].append(share_lost(held, limits))
    allowed = (half // 10 + 1) / (half + 1)
    checks, told = [], []
    for name in QUALITY:
        error = float(np.std(lost[name], ddof=1)) / math.sqrt(num_splits)
        checks.append(Check(f"{name}: share lost beyond a tenth", max(0.0, float(np.mean(lost[name])) - allowed), 5 * error))
        english = share_lost({name: columns[name].tolist()}, {name: Threshold(STATISTICS[name].english)})
        told.append(f"{name} {100 * float(np.mean(lost[name])):.1f}% ({100 * english:.1f}% by English's threshold)")
    together = 100 * float(np.mean(lost["all"]))
    return checks, (
        f"Mean shares lost of {len(measured) - half} held-out documents of the standard library: {', '.join(told)}; "
        f"by one of the five {together:.1f}%."
    )
