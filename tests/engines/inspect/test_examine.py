"""The truth direction is added to false statements and taken from true ones, at the layers that the shares of the depth name."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metier.engines.inspect.examine import Where, cross, examine
from metier.engines.inspect.questions import ask_both
from metier.engines.inspect.statements import Statement
from metier.engines.inspect.stream import open_stream
from metier.models.tiny import make_tiny


def test_interventions_push_each_verdict_to_the_other_side(tmp_path):
    stored = make_tiny(tmp_path, hidden_size=64, layers=4, std=0.2)
    known = [
        Statement(f"The {source} of {a}{b} is in {place}.", (ord(a) + ord(b)) % 2 == (place == "Q"), source)
        for source in ("city", "town")
        for a in "abcdefgh"
        for b in "abcdefgh"
        for place in "QZ"
    ]
    asked = ask_both(stored, stored, known, None, "city", 20, 6, 0)["after"]
    stream = open_stream(stored.load(torch.float32))
    where = Where((0.25, 0.5), 0.5, 1.0, 0.5, 0)  # blocks 1 and 2 of four
    own = examine(stream, asked, where)
    assert [statement.is_true for statement in asked.tried] == [True] * 3 + [False] * 3
    # Ten times as long, so that the verdicts of a random model move.
    moved = cross(stream, asked, where, own, replace(own, direction=10 * own.direction)).moved
    direction = torch.from_numpy(own.direction).float()
    for number, (statement, prompt) in enumerate(zip(asked.tried, asked.prompts, strict=True)):
        delta = -direction if statement.is_true else direction
        assert own.plain[number] == pytest.approx(reference(stream, asked, prompt, 0 * delta), abs=1e-8)
        assert own.moved[number] == pytest.approx(reference(stream, asked, prompt, delta), abs=1e-8)
        assert moved[number] == pytest.approx(reference(stream, asked, prompt, 10 * delta), abs=1e-8)
    assert np.abs(own.plain - moved).max() > 1e-6


def reference(stream, asked, prompt, delta):
    def add(module, args, output):
        return (
            output + delta * torch.isin(torch.arange(output.shape[1]), torch.tensor([prompt.period - 1, prompt.period]))[:, None]
        )

    handles = [stream.blocks[layer].register_forward_hook(add) for layer in (1, 2)]
    with torch.no_grad():
        probabilities = stream.model(torch.tensor([prompt.ids])).logits[0, -1].softmax(-1)
    for handle in handles:
        handle.remove()
    return float(probabilities[asked.answers.true_token] - probabilities[asked.answers.false_token])
