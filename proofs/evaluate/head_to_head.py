"""A head-to-head calls a difference between equal models about as rarely as it says, and its counts give the published rates.

Worlds of two models with the same accuracy whose answers to 500 questions are correlated by 0.6. Contradicted if the paper's plain bootstrap
interval excludes 0 in more or fewer than 5% (one point either way) of 2,000 worlds, if ours, which also spans the exact interval of
the disagreements and is therefore wider, does so in more than 6%, or if (8, 5, 17) of 30 cells are not 26.7%, 16.7% and 56.7%.
"""

from __future__ import annotations

import numpy as np

from metier.core.evidence import Check, Evidence, exact
from metier.engines.stats.bootstrap import paired_difference
from metier.engines.stats.paired import compare_pairs
from metier.progress import track

ROWS, CORRELATION, ACCURACY = 500, 0.6, 0.6


def prove(quick: bool) -> Evidence:
    """2,000 worlds, 2,000 bootstrap draws each; 200 and a tolerance of five points when quick."""
    worlds, tolerance = (200, 0.05) if quick else (2_000, 0.01)
    plain, ours = false_rates(worlds, replicates=500 if quick else 2_000)
    shares = [100 * count / 30 for count in (8, 5, 17)]
    return exact(
        claim="a difference between equal models is called one in 5% of cases, or more rarely",
        metric="distance from the nominal rate, or from the published share",
        checks=[
            Check("plain bootstrap: |false rate - 5%|", abs(plain - 0.05), tolerance),
            Check("as used: false rate beyond 5%", max(0.0, ours - 0.05), tolerance),
            *(
                Check(f"share of cells {published}%", abs(share - published), 0.05)
                for share, published in zip(shares, (26.7, 16.7, 56.7), strict=True)
            ),
        ],
        notes=f"{worlds} worlds; false rate of the plain bootstrap {plain:.3f}, of the interval used {ours:.3f}",
    )


def false_rates(worlds: int, replicates: int) -> tuple[float, float]:
    """Share of worlds of equal models in which the interval excludes 0: the plain bootstrap's, and the one that head_to_head uses."""
    generator = np.random.default_rng(0)
    ones, found = np.ones(ROWS), np.zeros(2)
    for world in track(range(worlds), "worlds", unit="world"):
        # Both answer alike with probability CORRELATION and independently otherwise, which is that correlation of right answers.
        first = generator.random(ROWS) < ACCURACY
        second = np.where(generator.random(ROWS) < CORRELATION, first, generator.random(ROWS) < ACCURACY)
        pair = (first.astype(float), ones), (second.astype(float), ones)
        for place, interval in enumerate(
            (paired_difference(*pair, seed=world, replicates=replicates), compare_pairs(*pair, seed=world, replicates=replicates))
        ):
            found[place] += interval.low > 0 or interval.high < 0
    plain, ours = found / worlds
    return float(plain), float(ours)
