"""Ablation and addition seen from outside, the grid against one prompt at a time, and planted refusals."""

import numpy as np
import pytest
import torch

from metier.engines.inspect.refusal import REFUSALS, ablated, added, cosines, direction_grid, mean_inputs, refuses, render
from metier.engines.inspect.stream import open_stream
from metier.models.tiny import make_tiny

SEQUENCES = [[5, 6, 7, 8], [9, 10, 11, 12, 13, 14], [3, 4, 5], [20, 21, 22, 23, 24], [7, 7, 7, 7], [30, 31, 32]]
LABELS = np.array([True, False, True, False, True, False])


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def stream(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return open_stream(make_tiny(folder, hidden_size=64, layers=3, std=0.3, architecture=request.param).load(torch.float32))


def hidden(stream, ids):
    """What each block reads and the last one gives before the final norm: (L, T, D) and (T, D)."""
    kept = []
    handles = [
        block.register_forward_pre_hook(
            lambda module, args, keywords: kept.append((args[0] if args else keywords["hidden_states"])[0]), with_kwargs=True
        )
        for block in stream.blocks
    ]
    handles.append(
        stream.blocks[-1].register_forward_hook(
            lambda module, args, output: kept.append(output[0] if output.dim() == 3 else output)
        )
    )
    with torch.no_grad():
        stream.model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return torch.stack(kept)


def test_nothing_is_left_along_an_ablated_direction(stream):
    direction = torch.randn(64, generator=torch.Generator().manual_seed(0))
    unit = direction / direction.norm()
    plain = hidden(stream, SEQUENCES[1])
    assert (plain @ unit).abs().max() > 0.1
    with ablated(stream, 3 * direction):
        clean = hidden(stream, SEQUENCES[1])  # the watching hooks were added later, so they see what the edits left
    assert (clean @ unit).abs().max() < 1e-5 * plain.abs().max()
    assert torch.equal(hidden(stream, SEQUENCES[1]), plain)
    with pytest.raises(ValueError, match="nothing to take away"), ablated(stream, torch.zeros(64)):
        pass


def test_an_ablated_model_is_one_whose_weights_cannot_write_the_direction(tmp_path):
    """W <- W - r (r . W) for all that writes to the stream (Arditi et al. 2024, equation 5) gives the same logits."""
    model = make_tiny(tmp_path, hidden_size=64, layers=3, std=0.3).load(torch.float32)
    stream = open_stream(model)
    unit = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(1)), dim=0)
    with ablated(stream, unit):
        expected = stream.next_logits(SEQUENCES[:2])
    head = model.get_output_embeddings().weight.detach().clone()
    with torch.no_grad():
        for block in stream.blocks:
            for layer in (block.self_attn.o_proj, block.mlp.down_proj):
                layer.weight -= torch.outer(unit, unit @ layer.weight)
        embeddings = model.get_input_embeddings().weight
        embeddings -= torch.outer(embeddings @ unit, unit)
        model.lm_head.weight = torch.nn.Parameter(head)
        model.model.embed_tokens.weight = torch.nn.Parameter(embeddings.clone())
        found = torch.stack([model(torch.tensor([ids])).logits[0, -1] for ids in SEQUENCES[:2]])
    assert torch.allclose(found, expected, atol=1e-4)


def test_what_is_added_is_added_once_at_every_token_and_subtracting_it_is_the_identity(stream):
    vector = torch.randn(64, generator=torch.Generator().manual_seed(2))
    plain = hidden(stream, SEQUENCES[0])
    with added(stream, 1, vector):
        moved = hidden(stream, SEQUENCES[0])
        with added(stream, 1, -vector):
            assert torch.allclose(hidden(stream, SEQUENCES[0]), plain, atol=1e-4)
    assert torch.equal(moved[0], plain[0])
    assert torch.allclose(moved[1] - plain[1], vector.expand(4, 64), atol=1e-5)


def test_the_grid_is_the_mean_of_single_prompts(stream):
    states = np.stack([hidden(stream, ids)[:-1, -2:].numpy() for ids in SEQUENCES]).astype(float)  # N, L, P, D
    grid = direction_grid(stream, SEQUENCES, LABELS, num_places=2, seed=0)
    assert np.allclose(grid.directions, states[LABELS].mean(0) - states[~LABELS].mean(0), atol=1e-4)
    means = mean_inputs(stream, SEQUENCES, [0, 1, 2, 0, 1, 2], num_groups=3, num_places=3)
    assert np.allclose(means[1, :, 1:], (states[1] + states[4]) / 2, atol=1e-4)
    assert grid.reliability.shape == (3, 2) and np.abs(grid.reliability).max() <= 1 + 1e-9


def test_bad_grids_are_refused(stream):
    with pytest.raises(ValueError, match="3 tokens and num_places=4"):
        mean_inputs(stream, SEQUENCES, [0] * 6, num_groups=1, num_places=4)
    with pytest.raises(ValueError, match="none may be empty"):
        mean_inputs(stream, SEQUENCES, [0] * 6, num_groups=2, num_places=1)


def test_cosines_of_cells():
    one = np.array([[[1.0, 0], [0, 2]], [[0, 0], [3, 3]]])
    found = cosines(one, np.array([[[1.0, 1], [0, -1]], [[1, 0], [1, 1]]]))
    assert found[0] == pytest.approx([0.5**0.5, -1]) and np.isnan(found[1, 0]) and found[1, 1] == pytest.approx(1)


@pytest.mark.parametrize(
    "text", ["I'm sorry, but", " I cannot help", "As an AI model", "Sorry", "I can’t do that".replace("’", "'")]
)
def test_stock_phrases_are_refusals(text):
    assert REFUSALS.match(text)


@pytest.mark.parametrize("text", ["Sure, here is", "The word sorry", "", "I can help", "Ice cannot"])
def test_other_answers_are_not(text):
    assert not REFUSALS.match(text)


def test_refusals_are_counted_by_prompt_and_an_edit_can_make_them(tmp_path):
    """A model taught to refuse: its output layer is set so that a state along one dimension says "Sorry"."""
    stored = make_tiny(tmp_path, hidden_size=64, std=0.02)
    tokenizer, model = stored.tokenizer(), stored.load(torch.float32)
    word = tokenizer("Sorry", add_special_tokens=False)["input_ids"]
    stream = open_stream(model)
    with torch.no_grad():
        head = model.get_output_embeddings().weight.clone()
        head[word[0], 3] = 50.0
        model.lm_head.weight = torch.nn.Parameter(head)
    prompts = [[10, 11, 12], [13, 14, 15, 16, 17]]
    assert refuses(stream, tokenizer, prompts).tolist() == [False, False]
    if len(word) == 1:
        vector = torch.zeros(64)
        vector[3] = 100.0
        assert refuses(stream, tokenizer, prompts, added(stream, 1, vector)).tolist() == [True, True]
    assert render(tokenizer, ["The list"])[0][-1] == tokenizer("assistant\n", add_special_tokens=False)["input_ids"][-1]
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        render(tokenizer, ["x"])
