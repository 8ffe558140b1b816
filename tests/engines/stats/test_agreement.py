"""Agreement against published worked examples, identities, and reference libraries where they are installed."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.stats.agreement import cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section D: four observers, twelve units, rows are units here
KRIPPENDORFF = [
    [1, 1, None, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [None, 5, 5, 5], [None, None, 1, 1], [None, 3, None, None],
]  # fmt: skip

# Fleiss' table of 14 raters, 10 subjects, 5 categories (the example of Wikipedia's article), kappa 0.210
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40).filter(
    lambda pairs: len({label for pair in pairs for label in pair}) > 1
)


def pairs_of(table):
    """Two raters' labels from their table of counts."""
    pairs = [(row, column) for row, counts in enumerate(table) for column, count in enumerate(counts) for _ in range(count)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def test_cohens_kappa_of_fifty_proposals():
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, expected 0.5
    assert cohen_kappa(*pairs_of([[20, 5], [10, 15]])).value == pytest.approx(0.4)


def test_the_kappa_paradox_and_ac1_beside_it():
    first, second = pairs_of([[118, 5], [2, 0]])  # Gwet 2002: agreement 0.944, kappa below 0, AC1 0.9408
    assert cohen_kappa(first, second).value == pytest.approx(-0.0234, abs=1e-4)
    assert gwet_ac1(first, second).value == pytest.approx(0.9408, abs=1e-4)


@pytest.mark.parametrize(("distance", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_table_with_missing_labels(distance, published):
    assert krippendorff_alpha(KRIPPENDORFF, distance=distance).value == pytest.approx(published, abs=5e-4)


def test_alpha_of_krippendorffs_tables_of_two_observers():
    binary = zip("0100000010", "1110010000", strict=True)
    named = zip("aabbdccceddA".lower(), "babbbcccEddd".lower(), strict=True)
    assert krippendorff_alpha(list(binary)).value == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(list(named)).value == pytest.approx(0.692, abs=5e-4)


def test_fleiss_kappa_of_his_table():
    ratings = [[label for label, count in enumerate(row) for _ in range(count)] for row in FLEISS]
    assert fleiss_kappa(ratings).value == pytest.approx(0.20993, abs=1e-5)


@given(LABELS)
def test_quadratic_kappa_is_its_closed_form(pairs):
    """1 - mean squared difference / expected one, from means and variances alone."""
    a, b = (np.array(side, float) for side in zip(*pairs, strict=True))
    expected = 1 - ((a - b) ** 2).mean() / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    found = cohen_kappa(a.tolist(), b.tolist(), categories=[0.0, 1.0, 2.0, 3.0], weights="quadratic", replicates=2)
    assert found.value == pytest.approx(expected)


@given(LABELS)
def test_alpha_is_pairwise_disagreement_by_disagreement_of_everything(pairs):
    """Interval alpha of two raters, from its definition without coincidence matrices."""
    pooled = np.array(pairs, float).ravel()
    squared = (pooled[:, None] - pooled[None, :]) ** 2
    expected = squared.sum() / (len(pooled) * (len(pooled) - 1))
    observed = np.mean([(a - b) ** 2 for a, b in pairs])
    assert krippendorff_alpha(pairs, distance="interval", replicates=2).value == pytest.approx(1 - observed / expected)


@given(LABELS)
def test_two_labels_make_all_weights_and_distances_one(pairs):
    binary = [(a % 2, b % 2) for a, b in pairs]
    if len({label for pair in binary for label in pair}) == 1:
        return
    first, second = zip(*binary, strict=True)
    kappas = {round(cohen_kappa(first, second, weights=kind, replicates=2).value, 9) for kind in ("none", "linear", "quadratic")}
    alphas = {
        round(krippendorff_alpha(binary, distance=kind, replicates=2).value, 9) for kind in ("nominal", "ordinal", "interval")
    }
    assert len(kappas) == len(alphas) == 1


@given(LABELS, st.randoms())
def test_who_is_first_and_the_order_of_items_change_nothing(pairs, order):
    first, second = zip(*pairs, strict=True)
    there = cohen_kappa(first, second, replicates=50)
    assert cohen_kappa(second, first, replicates=2).value == pytest.approx(there.value)
    shuffled = order.sample(pairs, len(pairs))
    back = cohen_kappa(*zip(*shuffled, strict=True), replicates=50)
    assert back == pytest.approx(there, nan_ok=True)


@given(LABELS)
def test_fleiss_of_two_raters_is_scotts_pi(pairs):
    pooled = [label for pair in pairs for label in pair]
    chance = sum((pooled.count(label) / len(pooled)) ** 2 for label in set(pooled))
    agreement = sum(a == b for a, b in pairs) / len(pairs)
    found = fleiss_kappa(pairs, replicates=2).value
    assert found == pytest.approx((agreement - chance) / (1 - chance))
    # nominal alpha is the same with the chance of drawing without replacement
    n = len(pooled)
    assert krippendorff_alpha(pairs, replicates=2).value == pytest.approx(1 - (1 - found) * (n - 1) / n)


def _two_raters():
    generator = random.Random(0)
    first = [generator.randrange(5) for _ in range(200)]
    return first, [label if generator.random() < 0.6 else generator.randrange(5) for label in first]


@pytest.mark.parametrize(("weights", "theirs"), [("none", None), ("linear", "linear"), ("quadratic", "quadratic")])
def test_cohen_equals_scikit_learns(weights, theirs):
    metrics = pytest.importorskip("sklearn.metrics")
    reference = metrics.cohen_kappa_score(*_two_raters(), weights=theirs)
    assert cohen_kappa(*_two_raters(), weights=weights, replicates=2).value == pytest.approx(reference, abs=1e-12)


def test_fleiss_equals_statsmodels():
    irr = pytest.importorskip("statsmodels.stats.inter_rater")
    ratings = np.array(_two_raters()).T
    reference = irr.fleiss_kappa(irr.aggregate_raters(ratings)[0])
    assert fleiss_kappa(ratings.tolist(), replicates=2).value == pytest.approx(reference, abs=1e-12)


@pytest.mark.parametrize("distance", ["nominal", "ordinal", "interval"])
def test_alpha_equals_the_krippendorff_packages(distance):
    krippendorff = pytest.importorskip("krippendorff")
    ratings = np.array(_two_raters()).T
    reference = krippendorff.alpha(ratings.T, level_of_measurement=distance)
    assert krippendorff_alpha(ratings.tolist(), distance=distance, replicates=2).value == pytest.approx(reference, abs=1e-9)


def test_the_interval_of_kappa_has_its_asymptotic_width():
    # Fleiss, Cohen and Everitt 1969 for a 2 x 2 table with equal marginals: var = (1 - k)((1 - k)(1 - 2k) + k(2 - k) / (2pq)) / n
    first, second = pairs_of([[320, 80], [80, 320]])  # p = q = 1/2, kappa 0.6: (1 - k)(1 + k) / n
    found = cohen_kappa(first, second, replicates=4000)
    half = 1.959964 * np.sqrt((1 - 0.6) * (1 + 0.6) / 800)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half), abs=4e-3)


def test_intervals_of_alpha_cover_the_truth_as_often_as_the_level_says():
    # Raters are right with 0.8, else any of two others: P(agree) = 0.8^2 + 0.2^2 / 2 = 0.66, chance 1/3, alpha = 0.49
    generator, covered = np.random.default_rng(0), 0
    for world in range(200):
        true = generator.integers(0, 3, 150)
        ratings = [np.where(generator.random(150) < 0.8, true, (true + generator.integers(1, 3, 150)) % 3) for _ in range(2)]
        found = krippendorff_alpha(np.array(ratings).T.tolist(), seed=world, replicates=300)
        covered += found.low <= 0.49 <= found.high
    assert 0.91 <= covered / 200 <= 0.99  # three standard deviations


def test_names_have_an_order_when_it_is_given():
    first, second = ["low", "mid", "high", "low"], ["low", "high", "high", "mid"]
    scale = ["low", "mid", "high"]
    numbers = [[scale.index(label) for label in side] for side in (first, second)]
    named = cohen_kappa(first, second, categories=scale, weights="linear")
    assert named == cohen_kappa(*numbers, weights="linear")
    ordinal = krippendorff_alpha(list(zip(first, second, strict=True)), distance="ordinal", categories=scale)
    assert ordinal == krippendorff_alpha(list(zip(*numbers, strict=True)), distance="ordinal")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cohen_kappa([], []), "no labels"),
        (lambda: cohen_kappa([1, 2], [1]), "do not pair"),
        (lambda: cohen_kappa([1, None], [1, 2]), "missing"),
        (lambda: cohen_kappa(["a", "a"], ["a", "a"]), "every label is 'a'"),
        (lambda: cohen_kappa(["a", "b"], ["a", "c"], categories=["a", "b"]), r"\['c'\] are not among"),
        (lambda: cohen_kappa(["a", "b"], ["a", "b"], weights="linear"), "order of the labels"),
        (lambda: fleiss_kappa([[1, 2], [1, None]]), "use krippendorff_alpha"),
        (lambda: krippendorff_alpha([[1, None], [None, 2]]), "no item has two labels"),
        (lambda: krippendorff_alpha([["a", "b"]], distance="interval", categories=["a", "b"]), "need numbers"),
    ],
)
def test_what_has_no_agreement_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
