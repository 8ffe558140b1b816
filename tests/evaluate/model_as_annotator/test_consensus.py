"""The likeliest labels of several annotators: simulated ones of known quality, and the reference library where it is installed."""

import numpy as np
import pytest

from metier.artifacts import Corpus
from metier.evaluate.model_as_annotator.consensus import consensus, dawid_skene

ACCURACIES = (0.9, 0.8, 0.65, 0.6, 0.55)


def simulated(seed, items=600, labels=3):
    generator = np.random.default_rng(seed)
    true = generator.integers(0, labels, items)
    wrong = (true[:, None] + generator.integers(1, labels, (items, len(ACCURACIES)))) % labels
    return true, np.where(generator.random((items, len(ACCURACIES))) < ACCURACIES, true[:, None], wrong)


def table(labels):
    return Corpus.from_rows({"id": f"r{n}", "text": "t", "source": "s", "label": label} for n, label in enumerate(labels))


def test_it_is_better_than_the_majority_and_knows_who_is_good():
    gains = []
    for seed in range(5):
        true, said = simulated(seed)
        found = dawid_skene(said, 3)
        counts = (said[:, :, None] == np.arange(3)).sum(1)
        gains.append((found.posterior.argmax(1) == true).mean() - (counts.argmax(1) == true).mean())
        quality = np.trace(found.confusion, axis1=1, axis2=2) / 3
        assert quality == pytest.approx(ACCURACIES, abs=0.08)
        assert found.posterior.sum(1) == pytest.approx(np.ones(600)) and found.prior.sum() == pytest.approx(1.0)
    assert min(gains) > 0.02


def test_the_posterior_is_bayes_rule_when_raters_are_known():
    _, said = simulated(0, items=20_000)
    found = dawid_skene(said, 3)
    for row in range(50):
        weights = np.array([
            np.prod([a if label == k else (1 - a) / 2 for a, label in zip(ACCURACIES, said[row], strict=True)]) for k in range(3)
        ])  # fmt: skip
        assert found.posterior[row] == pytest.approx(weights / weights.sum(), abs=0.06)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_ends_where_plain_expectation_maximisation_does(seed):
    _, said = simulated(seed)
    posterior = np.stack([(said == k).mean(1) for k in range(3)], axis=1)
    for _ in range(300):
        likelihood = np.tile(posterior.mean(0), (600, 1))
        for rater in range(5):
            table = np.array([[posterior[said[:, rater] == heard, true].sum() for heard in range(3)] for true in range(3)])
            likelihood *= (table / table.sum(1, keepdims=True))[:, said[:, rater]].T
        posterior = likelihood / likelihood.sum(1, keepdims=True)
    assert np.abs(dawid_skene(said, 3, smoothing=1e-9).posterior - posterior).max() < 1e-3


def test_smoothing_and_rounds_are_used():
    _, said = simulated(2, items=100)
    assert dawid_skene(said, 3, rounds=2).rounds == 2 < dawid_skene(said, 3).rounds
    assert dawid_skene(said[:1], 3, rounds=1, smoothing=1.0).confusion.min() > 0.2


def test_missing_labels_and_the_table():
    tables = [table(["a", "a", "b", None]), table(["a", None, "b", "b"]), table(["a", "a", "b", "b"])]
    found = list(consensus(tables, labels=["a", "b"]).rows())
    assert [row["label"] for row in found] == ["a", "a", "b", "b"]
    assert found[1]["labels_given"] == ["a", None, "a"] and min(row["p_label"] for row in found) > 0.9


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([table(["a"])] * 2, "2 annotators"),
        ([table(["a"]), table(["a"]), table(["a", "b"])], "annotator 3 has other rows"),
        ([table(["a"]), table(["a"]), table(["c"])], "'c' is none of"),
        ([table(["a", None])] * 3, "no label at all"),
    ],
)
def test_what_has_no_consensus_is_refused(tables, message):
    with pytest.raises(ValueError, match=message):
        consensus(tables, labels=["a", "b"])
