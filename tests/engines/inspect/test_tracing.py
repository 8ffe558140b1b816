"""Patched runs against the plainest hooks; laws of patching; maps."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, OPTConfig, Qwen2Config

from metier.engines.inspect import stream as stream_module
from metier.engines.inspect.statements import Answers, Pairs
from metier.engines.inspect.stream import Stream, open_stream
from metier.engines.inspect.tracing import binned, patch, similarity, true_states
from metier.models.tiny import make_tiny

SHARED = {"vocab_size": 512, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 128}
OTHERS = {
    "gpt_neox": lambda: GPTNeoXConfig(**SHARED, intermediate_size=96, initializer_range=0.3),
    "opt": lambda: OPTConfig(**SHARED, ffn_dim=96, word_embed_proj_dim=48, init_std=0.3),
    "qwen2": lambda: Qwen2Config(**SHARED, intermediate_size=96, num_key_value_heads=2, initializer_range=0.3),
}
TINY = {
    "llama": {},
    "gpt2": {"architecture": "gpt2"},
    "gemma2": {"architecture": "gemma2", "sliding_window": 5},
}
ANSWERS = Answers(" a", " b", 7, 9)


def load(name, folder):
    """A model of three blocks in float32 whose answers depend much on what it reads."""
    if name in TINY:
        return make_tiny(folder, hidden_size=64, layers=3, std=0.3, **TINY[name]).load(torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(OTHERS[name](), dtype=torch.float32).eval()


@pytest.fixture(scope="module", params=[*TINY, *OTHERS])
def stream(request, tmp_path_factory):
    return open_stream(load(request.param, tmp_path_factory.mktemp("model")))


def pairs(count=3, prefix=6, length=4):
    draw = np.random.default_rng(0).integers(3, 500, (2 * count + 1, max(prefix, length))).tolist()
    true, false = ([row[:length] for row in rows] for rows in (draw[1 : count + 1], draw[count + 1 :]))
    return Pairs(draw[0][:prefix], true, false, ["template"] * length, {})


def margin(logits):
    return float(logits[0, -1, ANSWERS.true_token] - logits[0, -1, ANSWERS.false_token])


def run(model, ids, block, hook):
    handle = block.register_forward_hook(hook)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits
    handle.remove()
    return margin(logits)


def keeping(kept, place):
    return lambda module, args, output: kept.append((output[0] if isinstance(output, tuple) else output)[0, place].clone())


def writing(kept, place):
    def write(module, args, output):
        (output[0] if isinstance(output, tuple) else output)[0, place] = kept[0]

    return write


def reference(stream, asked):
    """Pair by pair, block by block, token by token: one whole run each, one hook each. Margins (N, L, S)."""
    found = np.empty((len(asked.true_ids), len(stream.blocks), len(asked.columns)))
    for number, (true, false) in enumerate(zip(asked.true_ids, asked.false_ids, strict=True)):
        for layer, block in enumerate(stream.blocks):
            for place in range(-len(asked.columns), 0):
                kept = []
                run(stream.model, asked.prefix + true, block, keeping(kept, place))
                found[number, layer, place] = run(stream.model, asked.prefix + false, block, writing(kept, place))
    return found


def test_batches_that_begin_in_the_middle_give_what_whole_runs_one_by_one_give(stream):
    asked = pairs()
    donor, margins = true_states(stream, asked, ANSWERS)
    assert stream.forward.prefixes and stream.skips
    found = patch(stream, asked, ANSWERS, donor)
    assert np.abs(found - reference(stream, asked)).max() < 1e-4 * np.abs(found).max() + 1e-4
    for number, ids in enumerate(asked.true_ids):
        with torch.no_grad():
            assert margins.true[number] == pytest.approx(
                margin(stream.model(torch.tensor([asked.prefix + ids])).logits), abs=1e-4
            )


def test_batch_size_and_sharing_change_nothing(stream, monkeypatch):
    asked = pairs(count=5)
    donor, _ = true_states(stream, asked, ANSWERS)
    expected = patch(stream, asked, ANSWERS, donor)
    forward = type(stream.forward)(stream.model, stream.forward.head, trees=True, prefixes=False)
    plain = Stream(forward, stream.blocks, stream.tuples, skips=False)
    monkeypatch.setitem(stream_module.BATCH_TOKENS, "cpu", 30)
    assert np.allclose(patch(stream, asked, ANSWERS, donor), expected, atol=1e-4)
    assert np.allclose(patch(plain, asked, ANSWERS, donor), expected, atol=1e-4)
    assert np.allclose(true_states(plain, asked, ANSWERS)[0], donor, atol=1e-4)


def test_a_run_patched_with_itself_stays_as_it_was(stream):
    asked = pairs()
    itself = Pairs(asked.prefix, asked.false_ids, asked.false_ids, asked.columns, {})
    donor, margins = true_states(stream, itself, ANSWERS)
    found = patch(stream, itself, ANSWERS, donor)
    assert np.abs(found - margins.false[:, None, None]).max() < 1e-4


def test_all_tokens_of_the_donor_at_one_layer_give_the_donors_answer(stream):
    asked = pairs(prefix=0)
    states, expected = stream.states(asked.true_ids)
    for layer in range(len(stream.blocks)):
        assert torch.allclose(stream.logits_from(layer, states[layer], asked.false_ids), expected, atol=1e-4)


def test_in_the_last_block_only_the_last_token_counts(stream):
    asked = pairs()
    donor, margins = true_states(stream, asked, ANSWERS)
    last = patch(stream, asked, ANSWERS, donor)[:, -1]
    assert np.allclose(last[:, :-1], margins.false[:, None], atol=1e-4)
    assert np.allclose(last[:, -1], margins.true, atol=1e-4)


def test_hooks_are_gone_after_an_error_too(stream):
    with pytest.raises(ValueError, match="are not 2 pairs"):
        patch(stream, pairs(count=2), ANSWERS, torch.zeros(2, 1, 1, 8))
    with pytest.raises((RuntimeError, IndexError)):
        stream.logits_from(1, torch.zeros(1, 3, 7), [[3, 4, 5]])
    assert all("forward" not in vars(block) for block in stream.blocks)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in stream.model.modules())


def test_states_at_a_token_are_the_models_own_hidden_states(stream):
    sequences = [[5, 6, 7, 8, 9], [11, 12], [13, 14, 15]]
    places = [2, 1, 0]
    found = stream.states_at(sequences, places, layer=1)
    for row, ids, place in zip(found, sequences, places, strict=True):
        with torch.no_grad():
            hidden = stream.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        assert torch.allclose(row, hidden[2][0, place], atol=1e-4)


def test_bins_are_the_authors_ten_of_twenty():
    edges = np.linspace(-3, 5, 21)
    middles = (edges[:-1] + edges[1:]) / 2
    found = binned(np.array([[*middles, -3, 5]]))[0]
    assert found[:10].tolist() == [0] * 10
    assert found[10:20] == pytest.approx(np.arange(1, 11) / 10)
    assert found[20:].tolist() == [0, 1]
    assert binned(np.full((2, 2), 3.0)).tolist() == [[0, 0], [0, 0]]
    assert binned(edges)[11] == pytest.approx(0.2)  # 0.55 of the range: an edge belongs to the bin above


def test_similarity_is_pearsons_r():
    one, other = np.random.default_rng(0).normal(size=(2, 5, 7))
    assert similarity(one, other) == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    assert similarity(one, 3 * one + 2) == pytest.approx(1)
    assert np.isnan(similarity(one, np.ones((5, 7))))
