"""Rollback: what is left out never was, whenever checkpoints happened to be made."""

import json
import math

import pytest
import torch

from metier.engines.text.sequences import TokenSequence
from metier.engines.train import checkpoints
from metier.engines.train.fit import Schedule, Watch, fit
from metier.engines.train.spikes import Spikes, Watcher
from metier.models.source import open_model

STEPS, BAD = 24, 15


def lesson(count=40, size=24):
    """Rows of one repeated text, so that losses fall smoothly, and a last one of random tokens."""
    text = torch.randint(10, 400, (size,), generator=torch.Generator().manual_seed(0)).tolist()
    noise = torch.randint(10, 400, (size,), generator=torch.Generator().manual_seed(1)).tolist()
    return [[TokenSequence.of_text(text, "a")] for _ in range(count)] + [[TokenSequence.of_text(noise, "noise")]]


def train(workdir, *, order, watch, checkpoint_seconds=1e9, learning_rate=1e-3, steps=STEPS, data=None):
    schedule = Schedule(epochs=1, steps=steps, rows_per_step=1, learning_rate=learning_rate, warmup=0.0, shape="constant")
    return fit(
        open_model("tiny"), data or lesson(), [], schedule, adapter=None, precision="float32", checkpoint_seconds=checkpoint_seconds, seed=0,
        workdir=workdir, method="test", watch=watch, order=order,
    )  # fmt: skip


def with_noise(position):
    return [40 if position == BAD else position % 40]


def without(position):  # the order with the two positions left out
    return [0 if position < BAD - 1 else (position + 2) % 40]


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("checkpoint_seconds", [1e9, 0.0])
def test_a_spike_is_rolled_back_and_the_result_is_that_of_training_without_its_rows(checkpoint_seconds, tmp_path):
    watch = Watch(spikes=Spikes(threshold=10, window=16))
    made = train(tmp_path / "a", order=with_noise, watch=watch, checkpoint_seconds=checkpoint_seconds)
    plain = train(tmp_path / "b", order=without, watch=Watch())
    told = [line for line in lines(tmp_path / "a") if "rolled_back_to" in line]
    assert [(line["step"], line["left_out"]) for line in told] == [(BAD + 1, [BAD - 1, BAD])]
    assert told[0]["rolled_back_to"] == (0 if checkpoint_seconds else BAD - 1)
    assert told[0]["bad_loss"] > 5 and "leaps above" in told[0]["reason"]
    losses = [[line["loss"] for line in lines(tmp_path / name) if "trained" in line] for name in "ab"]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6) and len(losses[0]) == STEPS
    one, other = made.load().state_dict(), plain.load().state_dict()
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_what_was_left_out_is_remembered_by_the_checkpoint(tmp_path):
    watch = Watch(spikes=Spikes(threshold=10, window=16))
    train(tmp_path, order=with_noise, watch=watch, checkpoint_seconds=0.0)
    state = json.loads((checkpoints.latest(tmp_path) / checkpoints.STATE).read_text())
    assert state["skipped"] == [BAD - 1, BAD]
    assert len(checkpoints.complete(tmp_path)) == 2


def test_without_spikes_the_leap_stands_and_losses_that_are_not_finite_end_training(tmp_path):
    train(tmp_path / "a", order=with_noise, watch=Watch())
    assert max(line["loss"] for line in lines(tmp_path / "a")[BAD:]) > 5
    with pytest.raises(RuntimeError, match=r"step \d+: the (loss|norm of the gradient) is (nan|inf), so training ends"):
        train(tmp_path / "b", order=with_noise, watch=Watch(), learning_rate=1e30)


def test_losses_that_keep_leaping_end_training(tmp_path):
    with pytest.raises(RuntimeError, match="after 2 times of going back"):
        train(tmp_path, order=with_noise, watch=Watch(spikes=Spikes(rollbacks=2)), learning_rate=1e30)


def test_a_leap_is_measured_in_deviations_of_the_window():
    watcher = Watcher(Spikes(threshold=5, window=8), [2.0, 2.1, 1.9, 2.0])
    spread = 1.4826 * 0.1 / math.sqrt(2)
    assert watcher.reason(2.0 + 5 * spread + 0.001, 1.0) is not None
    assert watcher.reason(2.0 + 5 * spread - 0.001, 1.0) is None
    assert Watcher(Spikes(window=8), [2.0]).reason(100.0, 1.0) is None
    assert "loss is nan" in Watcher(None).reason(math.nan, 1.0)
    assert "gradient is inf" in Watcher(None).reason(1.0, math.inf)


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"window": 2}, {"rollbacks": 0}])
def test_settings_that_cannot_be_right_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Spikes(**settings)
