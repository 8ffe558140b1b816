"""Training: what may not change the result does not, and what was interrupted goes on exactly."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from metier.artifacts import Model
from metier.engines.text.sequences import TokenSequence
from metier.engines.train import checkpoints, resources
from metier.engines.train.adapter import Adapter
from metier.engines.train.fit import Schedule, fit
from metier.models.source import open_model
from metier.models.tiny import make_tiny


def rows(count=16, size=24):
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(10, 400, (size - number % 7,), generator=generator).tolist() for number in range(count)]
    return [[TokenSequence.of_text(ids, "ab"[number % 2])] for number, ids in enumerate(texts)]


def train(workdir, *, data=None, model=None, held_out=(), adapter=None, seed=0, checkpoint_seconds=1e9, **schedule):
    options = {"epochs": 2, "rows_per_step": 4, "learning_rate": 1e-3} | schedule
    workdir.mkdir(exist_ok=True)
    return fit(
        model or open_model("tiny"), data or rows(), list(held_out), Schedule(**options), adapter=adapter, precision="float32",
        checkpoint_seconds=checkpoint_seconds, seed=seed, workdir=workdir, method="test",
    )  # fmt: skip


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_the_first_loss_is_the_models_own_and_sources_add_up(tmp_path):
    data = rows(4)
    train(tmp_path / "a", data=data, epochs=1)
    model, total, tokens = open_model("tiny").load(dtype=torch.float32), 0.0, 0
    for (sequence,) in data:
        ids = torch.tensor(sequence.input_ids)
        total += functional.cross_entropy(model(input_ids=ids[None]).logits[0, :-1], ids[1:], reduction="sum").item()
        tokens += len(ids) - 1
    first = json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(total / tokens, rel=1e-5)
    assert first["tokens"] == tokens
    shares = {name: sum(len(row[0]) - 1 for row in data if row[0].source == name) for name in "ab"}
    assert sum(first["losses"][name] * shares[name] for name in "ab") / tokens == pytest.approx(first["loss"], rel=1e-6)


def test_how_a_step_is_spread_over_passes_changes_nothing(tmp_path, monkeypatch):
    train(tmp_path / "together")
    monkeypatch.setitem(resources.TOKENS_AT_ONCE, "cpu", 1)
    train(tmp_path / "apart")
    expected, found = losses(tmp_path / "together"), losses(tmp_path / "apart")
    assert found.keys() == expected.keys()
    assert max(abs(found[step] - expected[step]) for step in expected) < 1e-5


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path / name, seed=seed)
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_an_adapter_is_merged_and_only_it_was_trained(tmp_path):
    made = train(tmp_path / "a", adapter=Adapter(rank=4), learning_rate=1e-2)
    before, after = open_model("tiny").load().state_dict(), made.load().state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith("_proj.weight")}
    difference = after["model.layers.0.mlp.up_proj.weight"] - before["model.layers.0.mlp.up_proj.weight"]
    assert torch.linalg.matrix_rank(difference.double(), rtol=1e-4) == 4
    assert not list((tmp_path / "a" / "model").glob("adapter*"))


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2", "gemma2"])
def test_other_architectures_train_with_the_loss_of_their_own_logits(architecture, tmp_path):
    model = make_tiny(
        tmp_path / "model", architecture=architecture, sliding_window=8 if architecture in ("mistral", "gemma2") else None
    )
    data = [[TokenSequence.of_text(list(range(10, 40)), "a"), TokenSequence.of_text(list(range(50, 64)), "a")]]
    train(tmp_path / "run", data=data, model=model, epochs=1, rows_per_step=1)
    network, total = model.load(dtype=torch.float32), 0.0
    for sequence in data[0]:
        ids = torch.tensor(sequence.input_ids)
        total += functional.cross_entropy(network(input_ids=ids[None]).logits[0, :-1], ids[1:], reduction="sum").item()
    assert losses(tmp_path / "run")[1] == pytest.approx(total / 42, rel=1e-4)


def test_an_adapter_on_the_head_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"target_modules=\['lm_head'\] puts an adapter on the head"):
        train(tmp_path / "a", adapter=Adapter(rank=4, target_modules=["lm_head"]))


def test_activations_computed_again_give_the_same_losses(tmp_path, monkeypatch):
    train(tmp_path / "kept")
    monkeypatch.setattr("metier.engines.train.fit.needs_recomputation", lambda *_: True)
    used = []
    monkeypatch.setattr("transformers.modeling_utils.checkpoint", _noting(torch.utils.checkpoint.checkpoint, used))
    train(tmp_path / "again")
    assert losses(tmp_path / "again") == losses(tmp_path / "kept")
    assert used


def _noting(function, calls):
    def noted(*arguments, **options):
        calls.append(1)
        return function(*arguments, **options)

    return noted


def test_memory_that_would_not_hold_the_activations_is_foreseen():
    model, device = open_model("tiny").load(), torch.device("cpu")
    assert not resources.needs_recomputation(model, 1000, device)
    assert resources.needs_recomputation(model, 10**9, device)


def test_held_out_rows_are_measured_before_and_on_the_way(tmp_path):
    train(tmp_path / "a", held_out=rows(3))
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "held_out_loss" in line] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(("setting", "value"), [("epochs", 0), ("learning_rate", 0.0), ("warmup", 1.5)])
def test_settings_that_cannot_be_right_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting}={value}"):
        Schedule(**{"epochs": 1, "rows_per_step": 1, "learning_rate": 1e-3, setting: value})


def test_an_incomplete_checkpoint_is_ignored(tmp_path):
    for step in (2, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-2" / checkpoints.COMPLETE).touch()
    (tmp_path / "checkpoint-10" / checkpoints.COMPLETE).touch()
    assert checkpoints.latest(tmp_path).name == "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()


def test_a_checkpoint_of_another_training_is_refused_and_named(tmp_path):
    (tmp_path / "checkpoint-3").mkdir(parents=True)
    (tmp_path / "checkpoint-3" / checkpoints.COMPLETE).touch()
    checkpoints.claim(tmp_path, {"seed": 0, "rows": "a"})
    checkpoints.claim(tmp_path, {"seed": 0, "rows": "a"})
    with pytest.raises(ValueError, match=r"another training \(seed 0 then, 1 now\): give another workdir"):
        checkpoints.claim(tmp_path, {"seed": 1, "rows": "a"})


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_fills_up_while_saving_leaves_the_earlier_checkpoint(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:  # a checkpoint takes 18 MB, and the next is written while it stands
        with pytest.raises(OSError, match="no space left for 19 MB of weights and optimizer state") as caught:
            train(tmp_path / "w", checkpoint_seconds=0)
        assert caught.value.errno == errno.ENOSPC
        assert checkpoints.latest(tmp_path / "w").name == "checkpoint-1"
        assert not (tmp_path / "w" / "model").exists()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_two_processes_share_the_rows_of_a_step_and_end_with_the_same_model(tmp_path):
    train(tmp_path / "one", adapter=Adapter(rank=4), epochs=3)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("epochs=12, checkpoint_seconds=0.05", "epochs=3, adapter=test_fit.Adapter(rank=4)"))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    command = [sys.executable, *launch, str(Path(__file__).parent), str(tmp_path / "two")]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    expected, found = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert found.keys() == expected.keys()
    assert max(abs(found[step] - expected[step]) for step in expected) < 1e-5
    one, two = (Model.open(tmp_path / name / "model").load().state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


SCRIPT = """
import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])
import test_fit; test_fit.train(Path(sys.argv[2]), epochs=12, checkpoint_seconds=0.05)
"""


@pytest.mark.parametrize(("how", "rank"), [(signal.SIGKILL, None), (signal.SIGINT, 4)])
def test_stopped_inside_training_it_goes_on_with_the_same_losses(how, rank, tmp_path):
    adapter = Adapter(rank=rank) if rank else None
    train(tmp_path / "whole", epochs=12, adapter=adapter)
    script = SCRIPT.replace("epochs", "adapter=test_fit.Adapter(rank=4), epochs") if rank else SCRIPT
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / "cut")]
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        file = tmp_path / "cut" / "metrics.jsonl"
        if file.is_file() and file.read_text().count("\n") >= 9 and checkpoints_in(tmp_path / "cut"):
            break
        time.sleep(0.005)
    process.send_signal(how)
    process.wait()
    assert checkpoints_in(tmp_path / "cut")
    assert not (tmp_path / "cut" / "model").exists()
    train(tmp_path / "cut", epochs=12, checkpoint_seconds=0.05, adapter=adapter)
    expected, found = losses(tmp_path / "whole"), losses(tmp_path / "cut")
    assert found.keys() == expected.keys()
    assert max(abs(found[step] - expected[step]) for step in expected) < 1e-6
    whole, cut = (Model.open(tmp_path / name / "model").load().state_dict() for name in ("whole", "cut"))
    assert all(torch.allclose(whole[name], cut[name], atol=1e-6) for name in whole)


def checkpoints_in(folder):
    return list(folder.glob(f"checkpoint-*/{checkpoints.COMPLETE}"))
