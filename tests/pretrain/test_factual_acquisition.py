import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.artifacts import Corpus
from metier.engines.text.sequences import IGNORED, TokenSequence
from metier.engines.train.packed_loss import lose_in_chunks
from metier.engines.train.segments import use_segments
from metier.models.source import open_model
from metier.pretrain.factual_acquisition import curves, factual_acquisition
from metier.pretrain.factual_acquisition.injection import inject
from metier.pretrain.factual_acquisition.invented_facts import invented_facts
from metier.pretrain.factual_acquisition.probes import Probe, Scorer, probes_of, sequence_of


def test_a_known_line_of_forgetting_is_recovered():
    lags = curves.lags_until(2000)
    known = 0.95 - 0.2 * np.log10(lags)
    found = curves.forgetting(lags, np.stack([known, known, known]), ["a", "b", "b"], iqr=1.5, seed=0, replicates=50)
    assert found.decay.value == pytest.approx(0.2, abs=1e-9)
    assert (found.decay.low, found.decay.high) == pytest.approx((0.2, 0.2))
    assert found.lost_after.value == pytest.approx(10**4.75)
    assert found.r_squared == pytest.approx(1) and found.best == "log_linear"


def test_the_right_form_is_chosen_by_the_later_lags():
    lags = curves.lags_until(500)
    power, exponential = 0.9 * lags**-0.4, np.exp(-lags / 60)
    assert curves.extrapolation_errors(lags, power)["power"] < 1e-6
    assert curves.extrapolation_errors(lags, exponential)["exponential"] < 1e-6


def test_jumps_and_what_is_left_of_them_on_a_series_by_hand():
    steps = np.arange(10)
    values = np.array([-4.0, -4.0, -1.0, -2.0, -3.0, -3.0, -0.5, 0.0, -1.0, -2.0])
    assert curves.effectivity(steps, values, [1, 5], window=3).tolist() == [3.0, 3.0]
    assert curves.local_maximum(steps, values, 5, 3) == (7, 0.0)
    assert curves.retainability(steps, values, [1, 5], 3, np.array([0, 1, 2])).tolist() == [1.0, 0.75, 0.5]
    assert curves.retainability(steps, -values, [1, 5], 3, np.array([1])) is None
    with pytest.raises(ValueError, match="after step 9"):
        curves.local_maximum(steps, values, 9, 3)


@settings(deadline=None, max_examples=100)
@given(gain=st.floats(0.1, 2), retained=st.floats(0, 1), target=st.floats(0.1, 10))
def test_repetitions_are_what_a_loop_counts(gain, retained, target):
    level, count = 0.0, 0
    while level < target - 1e-7 and count < 200:
        level, count = level * retained + gain, count + 1
    found = curves.repetitions(gain, retained, target)
    if count < 200:
        assert found is None or abs(found - count) <= 1
    else:
        assert found is None or found >= 199


def test_no_gain_and_full_loss_are_never_enough():
    assert curves.repetitions(0.0, 0.9, 1.0) is None
    assert curves.repetitions(1.0, 0.0, 1.5) is None
    assert curves.repetitions(1.0, 0.5, 1.99) == 8  # 2 - 2^(1-n) >= 1.99
    assert curves.repetitions(0.5, 1.2, 3.0) == 6


def test_outliers_stay_out_of_the_mean():
    values = np.array([[1.0], [1.1], [0.9], [1.0], [50.0]])
    assert curves.inliers(values, 1.5)[:, 0].tolist() == [True] * 4 + [False]


def test_probes_are_scored_as_a_plain_loop_scores_them():
    model = open_model("tiny")
    tokenizer, network = model.tokenizer(), model.load(dtype=torch.float32)
    probes = [
        Probe("a", "semantic", "The bridge is made of", "grey marble"),
        Probe("b", "semantic", "Größe ", "ñandú"),
        Probe("c", "semantic", "", "x"),
    ]
    sequences = [sequence_of(probe, tokenizer) for probe in probes]
    expected = []
    with torch.no_grad():
        for sequence in sequences:
            logprobs = network(torch.tensor([sequence.input_ids])).logits[0].log_softmax(-1)
            told = [float(logprobs[at, label]) for at, label in enumerate(sequence.labels) if label != IGNORED]
            expected.append((sum(told) / len(told), told[0]))
    use_segments(network)
    lose_in_chunks(network)
    means, firsts = Scorer(sequences, 512)(network)
    assert means == pytest.approx([mean for mean, _ in expected], abs=1e-5)
    assert firsts == pytest.approx([first for _, first in expected], abs=1e-5)


def test_only_the_targets_tokens_are_asked_for():
    tokenizer = open_model("tiny").tokenizer()
    sequence = sequence_of(Probe("a", "semantic", "It was founded by the", "Zorgon-Calidus"), tokenizer)
    asked = [label for label in sequence.labels if label != IGNORED]
    assert tokenizer.decode(asked).strip() == "Zorgon-Calidus"
    merged = sequence_of(Probe("a", "semantic", "(", "the"), tokenizer)  # joined by a space, as words are
    assert tokenizer.decode([label for label in merged.labels if label != IGNORED]).strip() == "the"


def test_probes_are_made_of_sentences_where_a_document_brings_none():
    row = {"id": "a", "text": "The bridge of Toru is made of marble. Short one. On its banner there is a crane."}
    assert [(probe.context, probe.target) for probe in probes_of(row)] == [
        ("The bridge of Toru is made of", "marble"),
        ("On its banner there is a", "crane"),
    ]
    with pytest.raises(ValueError, match="'deep'"):
        probes_of(row | {"depths": ["deep"], "contexts": ["a"], "targets": ["b"]})
    with pytest.raises(ValueError, match="asks for ' '"):
        probes_of(row | {"depths": ["semantic"], "contexts": ["a"], "targets": [" "]})


def test_documents_replace_the_beginning_of_rows_and_nothing_else():
    rows = [[TokenSequence.of_text(list(range(10 * r, 10 * r + 8)), "text")] for r in range(4)]
    fact = TokenSequence.of_text([90, 91, 92], "once")
    made = inject(rows, lambda position: [2 * position % 4, (2 * position + 1) % 4], {1: [fact]}, sequence_length=8)
    assert made.rows[:4] == rows and made.order(0) == [0, 1] and made.order(1) == [4, 3]
    front, rest = made.rows[4]
    assert front == fact and rest.input_ids == [23, 24, 25, 26, 27] and rest.labels == [24, 25, 26, 27, IGNORED]
    with pytest.raises(ValueError, match="9 tokens and a row 8"):
        inject(rows, lambda _: [0], {0: [TokenSequence.of_text(list(range(9)))]}, sequence_length=8)
    with pytest.raises(ValueError, match="fill 2"):
        inject(rows, lambda _: [0], {0: [TokenSequence.of_text(list(range(8)))] * 2}, sequence_length=8)


TEXTS = Corpus.from_rows(
    [{"id": str(i), "text": f"The year {1900 + i} came before the year {1901 + i}. " * 6, "source": "years"} for i in range(40)]
)
SHORT = {
    "arms": {"paraphrase": 2, "duplication": 2, "once": 2, "control": 2},
    "interval": 8,
    "injections": 3,
    "window": 6,
    "burn_in": 6,
    "after": 30,
    "every": 2,
    "sequence_length": 256,
    "batch_tokens": 1024,
    "learning_rate": 2e-3,
}


def test_every_number_can_be_recomputed_from_the_curves(tmp_path):
    found = factual_acquisition(open_model("tiny"), TEXTS, invented_facts(facts=8, paraphrases=2), workdir=tmp_path, **SHORT)
    assert found.findings.encounters == [6, 14, 22]
    groups = {(group.arm, group.depth): group for group in found.findings.groups}
    assert len(groups) == 12 and all((group.facts, group.probes) == (2, 6) for group in groups.values())
    assert groups["control", "memorization"].forgetting is None
    rows = [row for row in found.curves.rows() if (row["arm"], row["depth"]) == ("once", "memorization")]
    series = {}
    for row in rows:
        series.setdefault((row["fact"], row["probe"]), {})[row["step"]] = row["logprob"]
    jumps = [max(values[t] for t in values if 6 < t <= 12) - values[6] for values in series.values()]
    own = groups["once", "memorization"]
    assert own.effectivity.value == pytest.approx(sum(jumps) / len(jumps))
    control = [row for row in found.curves.rows() if (row["arm"], row["depth"]) == ("control", "memorization")]
    by_probe = {}
    for row in control:
        by_probe.setdefault((row["fact"], row["probe"]), {})[row["step"]] = row["logprob"]
    others = [max(values[t] for t in values if 6 < t <= 12) - values[6] for values in by_probe.values()]
    assert own.beyond_control.value == pytest.approx(sum(jumps) / len(jumps) - sum(others) / len(others))
    assert groups["control", "memorization"].beyond_control is None
    facts = {row["fact"]: row for row in found.facts.rows()}
    assert len(facts) == 8 and {row["arm"] for row in facts.values()} == set(SHORT["arms"])
    gained = [values[52] - values[6] for (fact, _), values in series.items() if fact == rows[0]["fact"]]
    assert facts[rows[0]["fact"]]["gain_memorization"] == pytest.approx(sum(gained) / 3)
    assert all(math.isfinite(row["first"]) for row in found.curves.rows())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {"twice": 2}}, "twice"),
        ({"arms": {"control": 2}}, "some that are met"),
        ({"arms": {"once": 9}}, "once wants 9 facts, and 8 are left"),
        ({"injections": 4}, "with 3 paraphrases"),
        ({"interval": 5}, "interval=5"),
        ({"after": 6}, "after=6"),
        ({"every": 7}, "every=7"),
        ({"burn_in": 1}, "burn_in=1"),
        ({"batch_tokens": 0}, "batch_tokens=0"),
        ({"sequence_length": 32}, "raise sequence_length"),
    ],
)
def test_wrong_settings_are_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        factual_acquisition(
            open_model("tiny"), TEXTS, invented_facts(facts=8, paraphrases=2), workdir=tmp_path, **(SHORT | change)
        )


def test_facts_that_the_corpus_holds_are_refused(tmp_path):
    facts = invented_facts(facts=8, paraphrases=2)
    with pytest.raises(ValueError, match="stands in the corpus"):
        factual_acquisition(open_model("tiny"), facts, facts, workdir=tmp_path, **SHORT)
