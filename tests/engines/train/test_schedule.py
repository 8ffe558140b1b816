"""Learning rates against their formulas, and the order of rows as a function of seed and position."""

import functools
import math
import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import RandomSampler
from transformers import get_scheduler

from metier.engines.train.schedule import Order, Schedule


def factors(steps, **settings):
    schedule = Schedule(**({"epochs": 1, "rows_per_step": 1, "learning_rate": 1.0} | settings))
    return [schedule.factor(step, steps) for step in range(steps)]


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant_with_warmup"])
def test_shapes_are_those_of_transformers(shape):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler(shape, optimizer, num_warmup_steps=5, num_training_steps=50)
    expected = []
    for _ in range(50):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert factors(50, shape=shape, warmup=0.1) == pytest.approx(expected)


def test_wsd_rises_stays_and_falls_by_a_root():
    found = factors(100, shape="wsd", warmup=0.1, decay=0.2, final=0.1)
    assert found[:10] == pytest.approx([step / 10 for step in range(10)])
    assert set(found[10:81]) == {1.0}
    assert found[81:] == pytest.approx([0.1 + 0.9 * (1 - math.sqrt((step - 80) / 20)) for step in range(81, 100)])


def test_rewarming_begins_where_it_is_told_and_courses_end_at_their_share():
    found = factors(100, shape="cosine", warmup=0.2, warm_from=0.5, final=0.3)
    assert found[0] == 0.5 and found[10] == pytest.approx(0.75) and found[20] == 1.0
    assert found[-1] == pytest.approx(0.3, abs=2e-3)


@given(shape=st.sampled_from(["cosine", "linear", "wsd"]), cut=st.integers(1, 29), warmup=st.floats(0, 1))
def test_phases_of_one_course_join(shape, cut, warmup):
    whole = factors(30, shape=shape, warmup=warmup)
    parts = factors(cut, shape=shape, warmup=warmup, after=30 - cut) + factors(30 - cut, shape=shape, warmup=warmup, begin=cut)
    assert parts == pytest.approx(whole)


def test_one_block_is_torchs_seeded_order():
    order = Order(13, 4, seed=5)
    for epoch in (0, 1):
        expected = list(RandomSampler(range(13), generator=torch.Generator().manual_seed(5 + epoch)))
        assert [row for step in range(4) for row in order(4 * epoch + step)] == expected


@given(num_rows=st.integers(1, 60), per_step=st.integers(1, 70), block=st.integers(1, 70), seed=st.integers(0, 9))
def test_an_epoch_reads_each_row_once_from_any_place(num_rows, per_step, block, seed):
    steps = math.ceil(num_rows / min(per_step, num_rows))
    order = Order(num_rows, per_step, seed, block=block)
    rows = [order(position) for position in range(2 * steps)]
    assert (
        sorted(functools.reduce(operator.iadd, rows[:steps], []))
        == sorted(functools.reduce(operator.iadd, rows[steps:], []))
        == list(range(num_rows))
    )
    assert Order(num_rows, per_step, seed, block=block)(2 * steps - 1) == rows[-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"shape": "zigzag"}, "'zigzag' is unknown"), ({"steps": 0}, "steps=0"), ({"final": 2.0}, "final=2.0"), ({"begin": -1}, "begin=-1"),
     ({"rows_per_step": 0}, "rows_per_step=0")],
)  # fmt: skip
def test_courses_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**({"epochs": 1, "rows_per_step": 1, "learning_rate": 1.0} | settings))


def test_steps_take_the_place_of_epochs():
    assert Schedule(epochs=1, rows_per_step=4, learning_rate=1, steps=7).num_steps(100) == 7
    assert Schedule(epochs=2, rows_per_step=4, learning_rate=1).num_steps(10) == 6
