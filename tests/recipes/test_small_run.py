"""A whole recipe on a tiny model: what it makes, and that no interruption changes it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from metier.artifacts import Corpus, Scores


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "expert" / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == sorted(set(steps)), "a step was recorded twice"
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def values(folder: Path) -> list[tuple]:
    rows = Scores.open(folder / "versus").rows()
    return [(row["item"], row["model"], row["numerator"], row["denominator"]) for row in rows]


def test_every_stage_left_an_open_format(finished):
    assert len(Corpus.open(finished / "docs")) == 60
    AutoModelForCausalLM.from_pretrained(finished / "expert")
    assert "<html" in (finished / "report" / "index.html").read_text()
    funnels = [json.loads(file.read_text()) for file in finished.rglob("funnel.json")]
    assert funnels
    for funnel in funnels:
        assert funnel["total"] == funnel["kept"] + sum(funnel["dropped"].values()) + sum(funnel["quarantined"].values())


def test_no_held_out_source_was_trained_on(finished):
    train = {row["source"] for row in Corpus.open(finished / "parts" / "train").rows()}
    held_out = {row["source"] for row in Corpus.open(finished / "parts" / "held_out").rows()}
    assert train and held_out and not train & held_out


def test_training_learned_the_texts(finished):
    found = losses(finished)
    assert found[max(found)] < found[1] - 0.5
    bits = next(row for row in Scores.open(finished / "versus").comparisons if row.metric == "bits per byte")
    assert bits.candidate < bits.base


def test_two_runs_give_identical_metrics(finished, recipe, metier, tmp_path):
    again = metier("run", recipe, "--into", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert losses(tmp_path / "again") == losses(finished)
    assert values(tmp_path / "again") == values(finished)


@pytest.mark.slow
def test_killed_five_times_at_random_moments_the_run_ends_as_if_nothing_had_happened(finished, recipe, tmp_path):
    command = [
        sys.executable,
        "-c",
        "from metier.cli.main import main; main()",
        "run",
        str(recipe),
        "--into",
        str(tmp_path / "run"),
    ]
    generator = random.Random(0)
    kills = 0
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        time.sleep(generator.uniform(2, 8))
        if process.poll() is None:
            kills += 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert kills >= 3
    expected, found = losses(finished), losses(tmp_path / "run")
    assert found.keys() == expected.keys()
    assert max(abs(found[step] - expected[step]) for step in expected) < 1e-6
    assert values(tmp_path / "run") == values(finished)
    assert not list((tmp_path / "run" / "stages").glob("*.partial"))
