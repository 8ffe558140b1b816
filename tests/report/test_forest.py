import dataclasses
import math

import pytest

from metier.report.forest import groups, retention


def test_right_is_better_whether_more_or_less_is(comparison):
    more = comparison("questions", "acquired", 0.3, 0.2, 0.05)
    less = comparison("text", "acquired", 1.2, -0.1, 0.02, metric="bits per byte", better="lower", chance=None)
    (group,) = groups([more, less])
    for block, low, middle, high in zip(group.blocks, (0.15, 0.08), (0.2, 0.1), (0.25, 0.12), strict=True):
        (row,) = block.rows
        width = (row.gain.at - block.zero) / middle  # percent of the axis for one unit of gain
        assert width > 0
        assert row.gain.low == pytest.approx(block.zero + low * width, abs=0.02)
        assert row.gain.high == pytest.approx(block.zero + high * width, abs=0.02)
    assert [block.turned for block in group.blocks] == [False, True]
    assert group.blocks[1].rows[0].difference == "−0.100"
    assert [tick.label[0] for tick in group.blocks[1].gain_ticks if tick.at > group.blocks[1].zero + 1].count("−") > 0


def test_rows_of_a_metric_have_the_same_axes_in_every_group(comparison):
    first, second = groups([comparison("a", "acquired", 0.3, 0.4, 0.1), comparison("b", "general", 0.5, -0.02, 0.01)])
    assert first.blocks[0].gain_ticks == second.blocks[0].gain_ticks
    assert first.blocks[0].zero == second.blocks[0].zero
    assert (first.title, second.title) == ("On its documents", "General abilities retained")


def test_groups_count_outcomes_and_keep_every_comparison(comparison):
    given = [comparison(f"task {i}", "general", 0.5, (i - 30) / 100, 0.1) for i in range(60)]
    (group,) = groups(given)
    assert group.counts == {"better": 19, "tie": 21, "worse": 20}
    assert [row.comparison for row in group.blocks[0].rows] == given


def test_an_interval_that_is_not_finite_is_not_drawn_and_moves_no_axis(comparison):
    sound = comparison("sound", "acquired", 0.3, 0.2, 0.05)
    broken = dataclasses.replace(sound, task="broken", low=math.nan, high=math.inf, base_low=math.nan)
    (alone,), (both,) = groups([sound]), groups([sound, broken])
    assert both.blocks[0].rows[0] == alone.blocks[0].rows[0]
    assert both.blocks[0].rows[1].gain is None
    assert both.blocks[0].rows[1].base is None


def test_the_retention_line_names_what_fell_with_its_interval(comparison):
    kept, fell = comparison("arithmetic", "general", 0.4, -0.01, 0.03), comparison("copying_words", "general", 0.6, -0.05, 0.02)
    assert retention([]).status == retention([comparison("a", "acquired", 0.3, -0.2, 0.1)]).status == "unknown"
    assert retention([kept]).status == "kept"
    line = retention([kept, fell])
    assert line.status == "fell"
    assert line.sentence.startswith("Lost: 1 of 2")
    assert line.fell == ["copying words −5.0\N{NO-BREAK SPACE}points [−7.0 to −3.0]"]
