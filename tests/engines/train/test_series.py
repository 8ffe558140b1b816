"""Checkpoints kept to study are the models of their steps."""

import json

import pytest
import torch

from metier.artifacts import Model
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.adapter import Adapter
from metier.engines.train.fit import Schedule, Watch, fit
from metier.engines.train.series import Series, members
from metier.models.source import open_model


def train(workdir, watch, steps=6, adapter=None):
    generator = torch.Generator().manual_seed(0)
    rows = [[TokenSequence.of_text(torch.randint(10, 400, (20,), generator=generator).tolist(), "a")] for _ in range(12)]
    schedule = Schedule(epochs=1, steps=steps, rows_per_step=2, learning_rate=1e-3, warmup=0.0, shape="constant")
    return fit(
        open_model("tiny"), rows, rows[:2], schedule, adapter=adapter, precision="float32", checkpoint_seconds=1e9, seed=0,
        workdir=workdir, method="test", watch=watch,
    )  # fmt: skip


@pytest.mark.parametrize("adapter", [None, Adapter(rank=2)])
def test_members_are_the_models_of_shorter_trainings_and_carry_their_numbers(adapter, tmp_path):
    made = train(tmp_path / "a", Watch(series=Series(every=2)), adapter=adapter)
    kept = list(members(tmp_path / "a"))
    assert [one.step for one in kept] == [0, 2, 4, 6]
    expected = {0: open_model("tiny"), 2: train(tmp_path / "b", Watch(), steps=2, adapter=adapter), 6: made}
    for one in kept:
        if one.step in expected:
            weights = one.model.load().state_dict()
            assert all(
                torch.allclose(weight, weights[name], atol=1e-6)
                for name, weight in expected[one.step].load().state_dict().items()
            )
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    held_out = {line["step"]: line["held_out_loss"] for line in lines if "held_out_loss" in line}
    assert {one.step: one.numbers["held_out_loss"] for one in kept}.items() <= held_out.items()
    assert [one.numbers["tokens"] for one in kept] == [0, 76, 152, 228]


def test_spaced_steps_are_even_on_a_logarithmic_scale():
    assert Series(spaced=4, first=False).steps(1000) == {1, 10, 100, 1000}
    assert Series(spaced=1, every=400).steps(1000) == {0, 1, 400, 800, 1000}
    assert Series(every=2000).steps(10) == {0, 10}


@pytest.mark.parametrize(("settings", "message"), [({}, "needs `every`"), ({"every": 0}, "every=0"), ({"spaced": 0}, "spaced=0")])
def test_series_of_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Series(**settings)


def test_a_hook_is_told_of_each_step_and_its_numbers_are_kept(tmp_path):
    seen = []

    def on_step(step):
        seen.append((step.step, step.loss is None, step.tokens))
        with torch.no_grad():
            step.network.model.layers[0].mlp.up_proj.weight[0] = 0.0
        return {"norm": float(step.network.lm_head.weight.detach().norm())} if step.loss is not None else None

    made = train(tmp_path, Watch(on_step=on_step), steps=3)
    assert seen == [(0, True, 0), (1, False, 38), (2, False, 76), (3, False, 114)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(line["norm"] > 0 for line in lines if "trained" in line)
    assert not made.load().model.layers[0].mlp.up_proj.weight[0].any()
    assert isinstance(made, Model)
