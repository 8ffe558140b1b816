"""Several processes make the losses of one, in whole and in cut weights, and go on from each other's checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from metier.artifacts import Model
from metier.engines.train import checkpoints

SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.fit import Schedule, Watch, fit
from metier.models.source import open_model

workdir, kill_at = Path(sys.argv[1]), int(sys.argv[2])
generator = torch.Generator().manual_seed(0)
texts = [torch.randint(10, 400, (24 - number % 7,), generator=generator).tolist() for number in range(15)]
rows = [[TokenSequence.of_text(ids, "ab"[number % 2])] for number, ids in enumerate(texts)]

def on_step(step):
    if step.step == kill_at and os.environ.get("RANK", "0") == "0":
        os.kill(os.getpid(), signal.SIGKILL)

schedule = Schedule(epochs=3, rows_per_step=4, learning_rate=1e-3, weight_decay=0.1)
fit(open_model("tiny"), rows, rows[:3], schedule, adapter=None, precision="float32", checkpoint_seconds=0.0, seed=0, workdir=workdir,
    method="test", watch=Watch(on_step=on_step))
"""
STEPS = 12


def run(workdir, processes, *, sharded=False, kill_at=-1):
    script = workdir.parent / "script.py"
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    options = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_FSDP": "true" if sharded else "false"}
    command = [sys.executable, *launch, str(script), str(workdir), str(kill_at)]
    done = subprocess.run(command, env=os.environ | options, capture_output=True, text=True)
    assert (done.returncode == 0) == (kill_at < 0), done.stdout + done.stderr


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {(line["step"], name): line[name] for line in lines for name in ("loss", "held_out_loss", "tokens") if name in line}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone") / "one"
    run(workdir, 1)
    return workdir


def assert_alike(workdir, alone):
    expected, found = losses(alone), losses(workdir)
    assert found.keys() == expected.keys() and (STEPS, "loss") in found
    assert max(abs(found[key] - expected[key]) for key in expected) < 1e-5
    one, other = (Model.open(folder / "model").load().state_dict() for folder in (alone, workdir))
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_make_the_losses_and_the_model_of_one(sharded, alone, tmp_path):
    run(tmp_path / "two", 2, sharded=sharded)
    assert_alike(tmp_path / "two", alone)


@pytest.mark.parametrize(("before", "after", "sharded"), [(2, 1, True), (1, 2, True), (2, 1, False)])
def test_killed_it_goes_on_in_another_number_of_processes(before, after, sharded, alone, tmp_path):
    run(tmp_path / "cut", before, sharded=sharded and before > 1, kill_at=7)
    assert 5 <= checkpoints.step_of(checkpoints.latest(tmp_path / "cut")) <= 6
    run(tmp_path / "cut", after, sharded=sharded and after > 1)
    assert_alike(tmp_path / "cut", alone)


def test_folders_are_given_where_processes_must_meet(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("workdir=workdir", "workdir=None"))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(script),
        str(tmp_path),
        "-1",
    ]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "several processes need one folder to meet in: give workdir" in done.stderr
    assert Path(script).is_file()
