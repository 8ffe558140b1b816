"""Interventions on verdicts: what is added where, and the normalised effect by hand."""

import numpy as np
import pytest
import torch

from metier.engines.inspect.statements import Answers, Prompt, Statement, answers_of
from metier.engines.inspect.stream import open_stream
from metier.engines.inspect.truth import indirect_effect, shuffled_prompts, verdicts
from metier.models.source import open_model
from metier.models.tiny import make_tiny

ANSWERS = Answers(" a", " b", 7, 9)
PROMPTS = [Prompt([5, 6, 7, 8, 9], 0, 3, (1, 2)), Prompt([10, 11, 12], 0, 1, (0, 1)), Prompt([3, 4, 5, 6, 7, 8], 0, 4, (2, 3))]


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return open_stream(make_tiny(tmp_path_factory.mktemp("tiny"), hidden_size=64, layers=4, std=0.3).load(torch.float32))


def reference(stream, prompt, layers, delta):
    def add(module, args, output):
        output = output.clone()
        output[0, prompt.period] += delta
        output[0, prompt.period - 1] += delta
        return output

    handles = [stream.blocks[layer].register_forward_hook(add) for layer in layers]
    with torch.no_grad():
        probabilities = stream.model(torch.tensor([prompt.ids])).logits[0, -1].softmax(-1)
    for handle in handles:
        handle.remove()
    return float(probabilities[ANSWERS.true_token] - probabilities[ANSWERS.false_token])


def test_the_delta_goes_to_the_last_two_tokens_of_each_statement_in_the_layers_named(stream):
    delta = np.random.default_rng(0).normal(size=(3, 64))
    found = verdicts(stream, PROMPTS, ANSWERS, range(1, 3), delta)
    for value, prompt, one in zip(found, PROMPTS, delta, strict=True):
        assert value == pytest.approx(reference(stream, prompt, [1, 2], torch.tensor(one).float()), abs=1e-5)
    plain = verdicts(stream, PROMPTS, ANSWERS, range(1, 3))
    assert plain == pytest.approx([reference(stream, prompt, [], 0) for prompt in PROMPTS], abs=1e-6)
    assert np.abs(found - plain).max() > 1e-4
    assert verdicts(stream, PROMPTS, ANSWERS, range(1, 3), 0 * delta) == pytest.approx(plain, abs=1e-6)


def test_the_effect_is_the_share_of_what_was_possible():
    labels = np.array([False, False, True, True])
    before, after = np.array([-0.5, -0.3, 0.2, 0.4]), np.array([0.1, 0.3, -0.3, -0.1])
    # False: from -0.4 to 0.2, of 1.4 possible. True: from 0.3 to -0.2, of 1.3.
    assert indirect_effect(before, after, labels) == pytest.approx([(0.6 / 1.4 + 0.5 / 1.3) / 2])
    assert indirect_effect(before, before, labels) == pytest.approx([0])
    assert indirect_effect(before, np.where(labels, -1.0, 1.0), labels) == pytest.approx([1])
    counts = np.array([[2.0, 0, 0, 2]])
    assert indirect_effect(before, after, labels, counts) == pytest.approx([(0.6 / 1.5 + 0.5 / 1.4) / 2])


def test_examples_come_in_an_order_of_the_statements_number():
    tokenizer = open_model("tiny").tokenizer()
    examples = [Statement(f"Example {number}.", number % 2 == 0, "s") for number in range(4)]
    known = [Statement(f"The list {number} is all.", True, "s") for number in range(6)]
    prompts = shuffled_prompts(tokenizer, known, examples, answers_of(tokenizer))
    texts = [tokenizer.decode(prompt.ids) for prompt in prompts]
    assert all(all(example.text in text for example in examples) for text in texts)
    assert len({text.split("The list")[0] for text in texts}) > 1
    for prompt, one in zip(prompts, known, strict=True):
        assert tokenizer.decode(prompt.ids[prompt.begin : prompt.period + 1]) == one.text
