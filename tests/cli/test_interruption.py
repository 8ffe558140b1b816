"""Ctrl-C and failures during a run: a message, the right exit code, and the same command goes on."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RECIPE = "name: long\nstages:\n  sum: {use: 'slow:steps', total: 40}\n"
HERE = {"PYTHONPATH": str(Path(__file__).parent)}


def test_ctrl_c_ends_with_130_and_the_same_command_completes(command, environment, metier, tmp_path):
    (tmp_path / "long.yaml").write_text(RECIPE)
    process = subprocess.Popen(
        [*command, "run", "long.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment | HERE,
        start_new_session=True,  # a process group of its own, as a terminal's foreground job has
    )
    until = time.monotonic() + 60
    while not (states := list((tmp_path / "runs").rglob("work/state.json"))) and time.monotonic() < until:
        time.sleep(0.05)
    assert states
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors and "the same command goes on" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "runs/long/sum").exists()

    assert "goes on" in metier("run", "long.yaml", "--dry-run", extra=HERE).stdout
    done = metier("run", "long.yaml", extra=HERE)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs/long/sum/result.json").read_text()) == {"done": 40, "sum": 820, "began": 2}


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("breaks", ["RuntimeError: the loss is not a number any more", "log.txt"]),
        ("fills_the_disk", ["no space left on the device", "goes on where it stopped"]),
    ],
)
def test_a_stage_that_fails_ends_with_1_and_its_cause(metier, tmp_path, method, words):
    (tmp_path / "long.yaml").write_text(RECIPE.replace("40", "1") + f"  end: {{use: 'slow:{method}', result: $sum}}\n")
    done = metier("run", "long.yaml", extra=HERE)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in ["stage 'end'", *words]:
        assert word in done.stderr
    assert (tmp_path / "runs/long/sum/result.json").is_file()
