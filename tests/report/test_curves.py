import json
import math

import numpy as np
import pytest

from metier.core.lineage import StageRecord
from metier.report.curves import _smooth, trainings


@pytest.fixture
def record(tmp_path):
    def make(lines):
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return StageRecord(tmp_path, {"stage": "expert"})

    return make


def points(text):
    return [tuple(map(float, point.split(","))) for point in text.split()]


def step(number, loss, **losses):
    return {"step": number, "tokens": 100 * number, "loss": loss, "losses": losses}


@pytest.mark.parametrize("window", [1, 5, 13])
def test_smoothing_is_the_mean_of_the_neighbours_there_are(window):
    losses = np.random.default_rng(0).normal(size=40)
    half = window // 2
    wanted = [losses[max(0, i - half) : i + half + 1].mean() for i in range(40)]
    assert [loss for _, loss in _smooth(list(enumerate(losses)), window)] == pytest.approx(wanted)


def test_losses_stand_where_tokens_and_axis_say(record):
    (training,) = trainings([record([step(1, 3.0), step(2, 2.0), step(4, 1.0)])])
    drawn = points(training.whole.raw)
    assert [x for x, _ in drawn] == [25, 50, 100]
    (low, middle, high) = sorted(y for _, y in drawn)  # SVG counts from the top: the largest loss comes first
    assert drawn[0][1] == low
    assert middle - low == pytest.approx(high - middle, abs=0.01)


def test_a_step_logged_twice_counts_as_logged_last(record):
    (training,) = trainings([record([step(1, 3.0), step(2, 9.0), step(2, 2.0), step(3, 2.5)])])
    assert len(points(training.whole.raw)) == 3
    assert "from 3.000 to 2.500" in training.summary


def test_losses_that_are_not_finite_are_counted_and_not_drawn(record):
    (training,) = trainings([record([step(1, 3.0), step(2, math.nan, a=math.inf), step(3, 2.5, a=1.0)])])
    assert training.not_finite == 1
    assert len(points(training.whole.raw)) == 2
    assert "nan" not in training.whole.raw


def test_the_sources_with_most_steps_get_a_panel_and_all_panels_the_same_axes(record):
    lines = [step(n, 2.0, **{f"s{i}": 2.0 + i / 10 for i in range(9) if n % (i + 1) == 0}) for n in range(1, 41)]
    (training,) = trainings([record(lines)])
    assert [chart.name for chart in training.panels] == ["s0", "s1", "s2", "s3", "s4", "s5"]
    assert training.num_sources == 9
    assert len({tuple(chart.y_ticks) for chart in training.panels}) == 1


def test_held_out_sources_are_sorted_by_what_they_gained_and_the_middle_is_left_out(record):
    first = {f"s{i:02}": 3.0 for i in range(20)}
    last = {f"s{i:02}": 2.0 + 0.1 * i for i in range(20)}  # s00 gains 1.0, s11 and later lose
    lines = [{"step": s, "tokens": s, "held_out_loss": 1.0, "held_out": held} for s, held in ((0, first), (9, last))]
    (training,) = trainings([record(lines)])
    assert [change.source for change in training.changes] == [f"s{i:02}" for i in (*range(6), *range(14, 20))]
    assert (training.num_better, training.num_changes) == (10, 20)
    assert training.changes[0].change == "−1.000"


def test_a_long_run_is_thinned_and_keeps_its_ends(record):
    (training,) = trainings([record([step(n, 1 + 1 / n) for n in range(1, 5001)])])
    drawn = points(training.whole.raw)
    assert len(drawn) <= 502
    assert (drawn[0][0], drawn[-1][0]) == (0.02, 100)


def test_stages_without_losses_have_no_curve(record, tmp_path):
    assert trainings([StageRecord(tmp_path / "none", {"stage": "docs"})]) == []
    assert trainings([record([{"step": 1}])]) == []
    (training,) = trainings([record([step(1, 2.0)])])
    assert training.summary == "Only one measurement was logged."
