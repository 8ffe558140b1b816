"""The advice is the authors' flow, whatever is unknown; break-even and crossover are where arithmetic puts them.

Contradicted if, for any of the 59,049 ways to answer or leave open the ten questions, the leaves or their shares differ from
counting all assignments by a nested reading of the figure written apart from the table; if a leaf is never reached; if prompting
and tuning do not cost the same at a break-even; or if, of 200 made learning curves whose meeting point with a prompted score is
known, more than one in ten is estimated wrong by more than a factor of 1.5.

The curves: a - b n^-c with a in [0.8, 0.95], c in [0.3, 1], accuracy 0.5 to 0.6 at 8 labels, the meeting point between 24 and 400
(evenly in the logarithm), sizes 8 to 1024, five draws a size, 500 test rows with binomial noise.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from metier.core.evidence import Check, Evidence, exact
from metier.engines.stats.learning_curve import find_crossover
from metier.evaluate.practical_guide.costs import Costs
from metier.evaluate.practical_guide.flow import FLOW, LEAVES, shares
from metier.progress import track

NAMES = [node.fact for node in FLOW]
SIZES = [2**power for power in range(3, 11)]


def prove(quick: bool) -> Evidence:
    """All assignments and every ninth partial one (quick), or all; 40 or 200 curves."""
    counts = _count_leaves()
    partial = [answers for number, answers in enumerate(counts) if not quick or number % 9 == 0 or None not in answers]
    worst = max(_difference(answers, counts[answers]) for answers in track(partial, "comparing", unit="assignment"))
    reached = {leaf for answers in counts if None not in answers for leaf in counts[answers]}
    curves = 40 if quick else 200
    wrong = sum(not _crossover_is_near(seed) for seed in track(range(curves), "estimating", unit="curve")) / curves
    return exact(
        claim="the advice is the authors' flow for every state of knowledge, and says where tuning overtakes prompting and pays",
        metric="largest difference from counting, or share of estimates that are off",
        checks=[
            Check(f"shares of leaves, {len(partial)} states of knowledge", worst, 1e-12),
            Check("leaves of the figure that are never reached", float(len({"prompt", "tune", "test both"} - reached)), 0.5),
            Check("costs at break-even, relative", max(_break_even_error(seed) for seed in range(100)), 1e-9),
            Check(f"crossovers off by more than a factor of 1.5, of {curves}", wrong, 0.2 if quick else 0.1),
        ],
        notes=f"{100 * wrong:.1f}% of {curves} crossovers are off by more than a factor of 1.5",
    )


def _figure(answers: tuple[bool | None, ...]) -> str:
    """The figure's leaf, read without the table."""
    human, hard, several, far, few, shifted, creative, knowledge, context, real = answers
    if human or hard or several:
        return "prompt"
    if far:
        return "tune"
    if few or shifted or creative:
        return "prompt"
    if knowledge:
        if context:
            return "tune"
        return "prompt" if real else "test both"
    return "tune"


def _count_leaves() -> dict[tuple[bool | None, ...], dict[str, int]]:
    """For each of 3^10 states, how many assignments of its unknown facts end in each leaf.

    A state with an unknown fact counts what its two completions of the first such fact count.
    """
    counts: dict[tuple[bool | None, ...], dict[str, int]] = {}
    for answers in sorted(itertools.product((True, False, None), repeat=len(NAMES)), key=lambda state: state.count(None)):
        if None not in answers:
            counts[answers] = {_figure(answers): 1}
            continue
        place = answers.index(None)
        both = [counts[(*answers[:place], answer, *answers[place + 1 :])] for answer in (True, False)]
        counts[answers] = {leaf: sum(one.get(leaf, 0) for one in both) for leaf in LEAVES if any(leaf in one for one in both)}
    return counts


def _difference(answers: tuple[bool | None, ...], expected: dict[str, int]) -> float:
    found = shares(dict(zip(NAMES, answers, strict=True)))
    if set(found) != set(expected):
        return math.inf
    total = sum(expected.values())
    return max(abs(found[leaf] - expected[leaf] / total) for leaf in found)


def _break_even_error(seed: int) -> float:
    """How far prompting and tuning are apart in cost at the break-even, for random prices; where there is none, tuning must cost
    more."""
    draw = np.random.default_rng(seed).uniform(0.1, 2.0, size=12)
    costs = Costs(
        input_tokens=1_000 * draw[0], output_tokens=200 * draw[1], input_price=draw[2], output_price=4 * draw[3],
        tuned_request=0.001 * draw[4], requests=1_000 * draw[5], months=12 * draw[6], labels=1_000 * draw[7], label_price=draw[8],
        training_hours=10 * draw[9], hour_price=draw[10], upkeep=50 * draw[11],
    )  # fmt: skip
    prompted = (1_000 * draw[0] * draw[2] + 200 * draw[1] * 4 * draw[3]) / 1_000_000
    fixed = 1_000 * draw[7] * draw[8] + 10 * draw[9] * draw[10] + 50 * draw[11] * 12 * draw[6]
    if math.isinf(costs.break_even):
        return 0.0 if prompted <= 0.001 * draw[4] else math.inf
    tuned = fixed + costs.break_even * 0.001 * draw[4]
    return float(abs(costs.break_even * prompted - tuned) / tuned)


def _crossover_is_near(seed: int) -> bool:
    generator = np.random.default_rng(seed)
    a, c, first = generator.uniform([0.8, 0.3, 0.5], [0.95, 1.0, 0.6])
    b = (a - first) * 8**c
    truth = math.exp(generator.uniform(math.log(24), math.log(400)))
    level = a - b * truth**-c
    draws = [(generator.binomial(500, a - b * size**-c, size=5) / 500).tolist() for size in SIZES]
    found = find_crossover(SIZES, draws, 500, level + 0.02, level_value=level, seed=seed, replicates=20)
    return found.estimate is not None and truth / 1.5 <= found.estimate <= truth * 1.5
