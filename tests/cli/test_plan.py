"""`metier plan`: what it prints, its JSON, and its errors."""

import json


def test_a_training_on_a_gpu_that_is_not_at_hand(metier):
    done = metier("plan", "train", "--model", "tiny", "--tokens", "1M", "--gpu", "H100", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] == 245 and found["fits"] and found["peak_bytes"] == sum(found["parts"].values())
    shown = metier("plan", "train", "--model", "tiny", "--tokens", "1M", "--gpu", "H100").stdout
    assert "245 steps" in shown and "NVIDIA H100 datasheet" in shown and "one replica" in shown


def test_a_training_here_is_measured_once(metier, environment):
    arguments = (
        "plan",
        "train",
        "--model",
        "tiny",
        "--sequence-length",
        "128",
        "--batch-tokens",
        "256",
        "--tokens",
        "10k",
        "--json",
    )
    first = metier(*arguments)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["step_seconds"] > 0
    assert metier(*arguments).stdout == first.stdout


def test_serving(metier):
    done = metier("plan", "serve", "--model", "tiny", "--length", "1024", "--gpu", "L4")
    assert done.returncode == 0, done.stderr
    assert "tokens/s" in done.stdout and "sequences in 25.77 GB" in done.stdout


def test_mistakes_are_named(metier):
    done = metier("plan", "train", "--model", "tiny", "--gpu", "H1000")
    assert done.returncode == 2 and "did you mean 'H100'" in done.stderr
    assert metier("plan", "train", "--model", "tiny", "--tokens", "many").returncode == 2
    assert metier("plan", "serve", "--model", "tiny", "--length", "5000").returncode == 2


def test_help_has_examples(metier):
    for command in ("train", "serve"):
        assert "metier plan" in metier("plan", command, "--help").stdout.partition("Examples:")[2]
