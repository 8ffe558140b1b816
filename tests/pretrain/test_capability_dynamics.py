"""Curves of checkpoints: verdicts, predictions, lags, laws, alarms, against planted truth and the reference libraries."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from metier.artifacts import Table
from metier.pretrain.capability_dynamics import capability_dynamics
from metier.pretrain.capability_dynamics.curves import Curve, curves_of
from metier.pretrain.capability_dynamics.health import alarms
from metier.pretrain.capability_dynamics.lags import domain_lags
from metier.pretrain.capability_dynamics.law import EXPONENTS, fit, law_of
from metier.pretrain.capability_dynamics.prediction import foreseen, from_other_tasks
from metier.pretrain.capability_dynamics.published import published
from metier.pretrain.capability_dynamics.signal import panel, signal_of

PYTHIA = Path(__file__).parents[3] / "shared" / "data" / "pretrain" / "pythia_evals.jsonl"


def curve(values, *, task="t", model="m", domain="d", params=None, chance=0.0, tokens=None, stderr=0.01, loss=None) -> Curve:
    values = np.asarray(values, dtype=np.float64)
    tokens = np.arange(1, len(values) + 1) * 1e9 if tokens is None else np.asarray(tokens, dtype=np.float64)
    lost = np.full(len(values), np.nan) if loss is None else np.asarray(loss, dtype=np.float64)
    return Curve(model, "", task, domain, params, chance, tokens, values, np.full(len(values), stderr), lost)


def rows_of(values, **columns):
    return [
        {"model": "m", "task": "t", "value": value, "tokens_seen": (place + 1) * 1e9, "stderr": 0.01, **columns}
        for place, value in enumerate(values)
    ]


def test_a_rising_curve_is_usable_a_flat_one_noise_and_a_falling_one_falls():
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.01, 20)
    rising = signal_of(curve(np.linspace(0.25, 0.6, 20) + noise, chance=0.25), 5, 0.7)
    flat = signal_of(curve(0.25 + noise, chance=0.25), 5, 0.7)
    falling = signal_of(curve(np.linspace(0.6, 0.25, 20) + noise, chance=0.25), 5, 0.7)
    assert [rising.verdict, flat.verdict, falling.verdict] == ["usable", "noise", "noise"]
    assert (rising.falls, falling.falls) == (False, True)
    assert falling.gain < 0.05, "an isotonic fit of a falling curve is nearly constant"


def test_the_numbers_of_a_signal_are_those_of_sklearn_and_scipy():
    from sklearn.isotonic import IsotonicRegression

    values = np.array([0.3, 0.28, 0.35, 0.33, 0.5, 0.48, 0.7])
    found = signal_of(curve(values, chance=0.25, stderr=0.015), 5, 0.7)
    rescaled = (values - 0.25) / 0.75
    fitted = IsotonicRegression().fit_transform(np.arange(7), rescaled)
    assert found.gain == pytest.approx(fitted[-1] - fitted[0])
    assert found.noise == pytest.approx((rescaled - fitted).std())
    assert found.rho == pytest.approx(stats.spearmanr(np.arange(7), values).statistic)
    assert found.gain_in_stderr == pytest.approx(found.gain / 0.02)


def test_a_task_that_wakes_up_after_a_long_noisy_wait_is_late_from_when_it_stays_above_chance():
    asleep = 0.25 + np.array([0.03, -0.03, 0.03, -0.03, 0.03, -0.03, 0.03, -0.03, 0.03, -0.03, 0.03, -0.03])
    found = signal_of(curve([*asleep, 0.31, 0.33, 0.35, 0.37, 0.39], chance=0.25, stderr=0.02), 5, 0.7)
    assert (found.verdict, found.since) == ("late", 13e9)


def test_few_points_and_constant_curves_get_no_verdict_and_no_nan():
    assert signal_of(curve([0.2, 0.4, 0.9]), 5, 0.7).verdict == "too few"
    flat = signal_of(curve([0.4] * 6), 5, 0.7)
    assert (flat.verdict, flat.gain, flat.rho) == ("noise", 0.0, 0.0)
    assert signal_of(curve([0.4]), 5, 0.7).rho == 0.0


def test_the_panel_follows_most_series():
    rising, flat = curve(np.linspace(0.1, 0.9, 8)), curve([0.5] * 8)
    signals = [signal_of(one, 5, 0.7) for one in (rising, rising, flat)]
    assert panel(signals) == (["t"], [])
    assert panel([signals[2]] * 2 + [signals[0]]) == ([], ["t"])


def test_a_task_that_is_a_line_of_the_others_is_foreseen_without_error_and_persistence_with_the_known_one():
    other = curve([0.1, 0.2, 0.4, 0.5, 0.6, 0.65, 0.7, 0.72], task="other")
    target = curve(0.5 * other.values + 0.3)
    errors = foreseen(target, other.values, early=0.5)
    assert errors.error == pytest.approx(0, abs=1e-12)
    assert errors.persistence == pytest.approx(np.mean(0.5 * (np.array([0.6, 0.65, 0.7, 0.72]) - 0.5)))
    slope, intercept = np.polyfit(np.log10(target.tokens[:4]), target.values[:4], 1)
    assert errors.trend == pytest.approx(np.abs(slope * np.log10(target.tokens[4:]) + intercept - target.values[4:]).mean())


def test_predictions_say_when_nothing_is_predictable_yet():
    generator = np.random.default_rng(1)
    curves = [
        curve(0.3 + generator.normal(0, 0.05, 12), task=task, model=f"m{number}") for number in range(6) for task in ("a", "b")
    ]
    assert all(one.verdict != "predictable" for one in from_other_tasks(curves, 0.4, 500, 0))
    assert foreseen(curve([0.1, 0.2, 0.3]), np.ones(3), 0.5) is None


def test_a_planted_lag_is_found_and_no_other_among_curves_that_all_rise():
    generator = np.random.default_rng(2)
    lead = generator.normal(0.01, 0.01, 39)
    follow = np.concatenate([[0.01], lead[:-1]]) + generator.normal(0, 0.004, 39)
    walks = {"lead": lead, "follow": follow, "alone": generator.normal(0.01, 0.01, 39)}
    curves = [curve(0.1 + np.cumsum([0, *steps]), task=name, domain=name) for name, steps in walks.items()]
    called = {(one.leader, one.follower) for one in domain_lags(curves, 1, 2000, 0) if one.adjusted < 0.05}
    assert called == {("lead", "follow")}


def test_the_partial_correlation_is_that_of_three_variables():
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=30), generator.normal(size=30)
    curves = [curve(np.cumsum([0, *steps]), task=name, domain=name) for name, steps in (("a", a), ("b", b))]
    found = next(one for one in domain_lags(curves, 1, 200, 0) if one.leader == "a")
    r = np.corrcoef([a[:-1], b[1:], b[:-1]])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert found.r == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(floor=st.floats(0.02, 0.6), scale=st.floats(0.1, 0.39), place=st.integers(80, 250))
def test_a_law_without_noise_is_found_exactly(floor, scale, place):
    at = np.geomspace(1, 1000, 12)
    exponent = float(EXPONENTS[place])
    found = [float(part[0]) for part in fit((floor + scale * at**-exponent)[None], at)]
    assert found == pytest.approx([floor, scale, exponent], rel=1e-6)


def test_the_fit_is_scipys_least_squares_and_its_bounds_hold():
    generator = np.random.default_rng(4)
    at = np.geomspace(1, 500, 14)
    errors = 0.2 + 0.7 * at**-0.4 + generator.normal(0, 0.01, 14)
    theirs, _ = optimize.curve_fit(
        lambda x, e, a, b: e + a * x**-b, at, errors, p0=(0.1, 0.5, 0.5), bounds=([0, 0, 0.02], [1, 2, 3])
    )
    ours = [float(part[0]) for part in fit(errors[None], at)]
    assert ours == pytest.approx(theirs, rel=0.03)
    rising = fit((0.5 + 0.1 * np.log(at))[None], at)
    assert rising[1][0] == 0, "errors that grow have no scale"
    law = law_of(curve(1 - errors, tokens=at * 1e9), 300, 0)
    assert law.exponent.low < 0.4 < law.exponent.high and law.trusted_until == 1e12
    assert law.error(1e9) == pytest.approx(law.floor.value + law.scale.value)
    assert law_of(curve([0.1, 0.2, 0.3]), 300, 0) is None


def test_an_alarm_is_raised_once_when_tasks_fall_while_the_loss_falls():
    up, down = np.linspace(0.3, 0.7, 10), np.full(6, 0.5)
    loss = np.linspace(3, 2, 16)
    curves = [curve([*up, *down], task=name, domain=name, loss=loss) for name in ("a", "b")]
    found = alarms(curves, 2, 2)
    assert [(one.kind, one.tokens, one.tasks, one.loss_known) for one in found] == [("tasks fall", 12e9, ["a", "b"], True)]
    assert alarms([curve([*up, *down], task=name, domain=name, loss=loss[::-1]) for name in ("a", "b")], 2, 2) == []
    assert alarms([curve(np.linspace(0.3, 0.7, 16), task=name, loss=loss) for name in ("a", "b")], 2, 2) == []


def test_a_task_that_leaves_its_domains_course_raises_an_alarm():
    generator = np.random.default_rng(5)
    course = np.linspace(0.3, 0.7, 14)
    stray = course + generator.normal(0, 0.003, 14)
    stray[12:] -= 0.1
    (found,) = [one for one in alarms([curve(course, task="a"), curve(stray, task="b")], 3, 2) if one.tasks == ["b"]]
    assert (found.kind, found.tokens) == ("off course", 13e9)


def test_percent_repeats_and_missing_standard_errors_are_handled_and_told():
    rows = rows_of([25.0, 50.0, 75.0], stderr=1.0) + rows_of([35.0], stderr=1.0)
    (found,), notes = curves_of(Table.from_rows(rows), None, 0)
    assert found.values.tolist() == pytest.approx([0.30, 0.5, 0.75])
    assert found.stderr.tolist() == pytest.approx([0.01] * 3)
    assert any("percent" in note for note in notes) and any("averaged" in note for note in notes)
    (binomial,), _ = curves_of(Table.from_rows(rows_of([0.5], stderr=None, n=98)), None, 0)
    assert binomial.stderr[0] == pytest.approx(math.sqrt(0.25 / 98))
    (stepped,), _ = curves_of(Table.from_rows(rows_of([0.5], tokens_seen=None, step=7, tokens_per_step=1000)), None, 0)
    assert stepped.tokens.tolist() == [7000.0]


def test_results_of_different_setups_are_not_joined():
    rows = rows_of([0.2, 0.3], setup="zero-shot") + rows_of([0.4, 0.5], setup="five-shot")
    curves, _ = curves_of(Table.from_rows(rows), {"t": "mine"}, 0)
    assert [(one.setup, one.values.tolist(), one.domain) for one in curves] == [
        ("zero-shot", [0.2, 0.3], "mine"),
        ("five-shot", [0.4, 0.5], "mine"),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no results"),
        ([{"model": "m", "value": 1.0}], r"lack the columns \['task'\]"),
        (rows_of([0.5], tokens_seen=None), "no tokens_seen"),
        (rows_of([0.5], stderr=None), "neither stderr nor n"),
        (rows_of([-0.5]), "no share"),
        (rows_of([0.5], chance=1.0), "chance=1"),
    ],
)
def test_bad_results_are_refused(rows, said):
    with pytest.raises(ValueError, match=said):
        curves_of(Table.from_rows(rows, columns=["model", "task", "value"]), None, 0)


@pytest.mark.parametrize(
    "setting", [{"early": 0.0}, {"early": 1.0}, {"times_noise": -1}, {"lags": -1}, {"least_tasks": 0}, {"replicates": 1}]
)
def test_bad_settings_are_refused(setting):
    with pytest.raises(ValueError, match=str(next(iter(setting)))):
        capability_dynamics(Table.from_rows(rows_of([0.1] * 5)), **setting)


def test_changes_by_domain_have_the_items_interval_and_decay_is_noted():
    rows = rows_of([0.5, 0.6], n=100, stderr=0.03, schedule="cosine") + rows_of(
        [0.5, 0.4], task="u", stderr=0.04, schedule="cosine"
    )
    found = capability_dynamics(Table.from_rows(rows), lags=0)
    (change,) = found.changes
    half = 1.96 * math.sqrt(2 * 0.03**2 + 2 * 0.04**2) / 2
    assert [change.change.value, change.change.low, change.change.high] == pytest.approx([0, -half, half], abs=1e-4)
    assert any("cosine" in note for note in found.notes) and any("nothing was predicted" in note for note in found.notes)


@pytest.mark.skipif(not PYTHIA.is_file(), reason="pythia_evals.jsonl is not beside the checkout")
def test_persistence_on_pythia_is_the_sheets():
    domains = {"arc_easy": "d", "lambada_openai": "d", "piqa": "d"}
    results = published(path=PYTHIA, setup="zero-shot", chance=dict.fromkeys(domains, 0.0))
    found = capability_dynamics(results, from_tokens=512 * 2_097_152, replicates=100, lags=0)
    told = {one.task: round(one.persistence, 3) for one in found.predictions if one.by == "other tasks"}
    assert told == {"arc_easy": 0.037, "lambada_openai": 0.047, "piqa": 0.016}
