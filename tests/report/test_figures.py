import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.report import figures
from metier.report.figures import Axis

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.001, "under 0.01 s"),
        (0.04, "0.04 s"),
        (3.0, "3.0 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (252, "4 min 12 s"),
        (3600, "1 h"),
        (3599.9, "1 h"),
        (3900, "1 h 5 min"),
        (86400, "1 d 0 h"),
        (183600, "2 d 3 h"),
        (math.nan, "–"),
    ],
)
def test_durations_are_human(seconds, text):
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        (figures.count, (1234567,), "1,234,567"),
        (figures.compact, (950,), "950"),
        (figures.compact, (999.9,), "1k"),
        (figures.compact, (151_700,), "152k"),
        (figures.compact, (2_100_000,), "2.1M"),
        (figures.compact, (0,), "0"),
        (figures.size, (512 << 20,), "512 MiB"),
        (figures.size, (int(1.4 * 2**30),), "1.4 GiB"),
        (figures.size, (24 << 30,), "24 GiB"),
        (figures.size, (17,), "17 bytes"),
        (figures.value, (0.4804, "accuracy"), "48.0%"),
        (figures.value, (1.2345, "bits per byte"), "1.234"),
        (figures.value, (12345.6, "perplexity"), "12,346"),
        (figures.value, (math.nan, "accuracy"), "–"),
        (figures.difference, (0.168, "accuracy"), f"+16.8{NBSP}points"),
        (figures.difference, (-0.1234, "bits per byte"), "−0.123"),
        (figures.p_value, (0.0002,), "under 0.001"),
        (figures.p_value, (0.0316,), "0.032"),
        (figures.p_value, (0.4567,), "0.46"),
    ],
)
def test_numbers_have_sensible_digits(function, arguments, text):
    assert function(*arguments) == text


finite = st.floats(-1e6, 1e6).filter(lambda number: number == 0 or abs(number) > 1e-6)


@given(st.lists(finite, min_size=1, max_size=20))
def test_an_axis_holds_its_numbers_in_order_and_has_ticks_inside(numbers):
    axis = Axis.over(numbers)
    places = [axis.at(number) for number in sorted(numbers)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 9
    assert all(-1e-6 <= tick.at <= 100 + 1e-6 for tick in ticks)


def test_ticks_are_round_and_written_alike():
    assert [tick.label for tick in Axis(0.9, 2.1).ticks(4)] == ["1.00", "1.25", "1.50", "1.75", "2.00"]
    assert [tick.label for tick in Axis(-0.12, 0.35).ticks(unit=100, signed=True)] == ["−10", "0", "+10", "+20", "+30"]
    assert [tick.label for tick in Axis(0, 1).ticks(4, unit=100, suffix="%")] == ["0%", "25%", "50%", "75%", "100%"]


def test_an_axis_of_nothing_and_of_one_number_has_a_length():
    assert Axis.over([]) == Axis.over([math.nan]) == Axis(-1, 1)
    assert Axis.over([0.0]).low < 0 < Axis.over([0.0]).high
