"""Sparse pretraining against a reference that masks in the forward pass, the paper's FLOPs, and masks that survive what may happen."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig
from transformers.pytorch_utils import Conv1D

from metier.artifacts import Corpus, Model
from metier.engines.text.pack import pack
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.fit import Schedule, Watch, fit
from metier.engines.train.trainer import Step
from metier.models.tiny import make_tiny
from metier.pretrain import sparse_masks
from metier.pretrain.continued import continued
from metier.pretrain.sparse_masks import Masked, Watchman
from metier.pretrain.sparse_then_dense import flops, sparse_then_dense

CORPUS = Corpus.from_rows(
    [
        {
            "id": str(number),
            "source": "numbers",
            "text": " ".join(f"{number + k} comes before {number + k + 1}." for k in range(12)),
        }
        for number in range(40)
    ]
)
SHORT = {"sequence_length": 64, "batch_tokens": 256, "tokens": 4000, "precision": "float32"}


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("new"), hidden_size=64)


@pytest.fixture(scope="module")
def sparse(new, tmp_path_factory):
    return sparse_then_dense(new, CORPUS, **SHORT, workdir=tmp_path_factory.mktemp("sparse"))


def zeros(model, masks):
    """Masked weights that are zero, and those that are not."""
    network = model.load()
    masked = torch.cat([network.get_parameter(name)[~mask] for name, mask in masks.items()])
    return int((masked == 0).sum()), int((masked != 0).sum())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize(("sparsity", "pattern"), [(0.75, "random"), (0.5, "2:4"), (0.9, "magnitude"), (0.0, "random")])
def test_each_matrix_keeps_exactly_its_share(architecture, sparsity, pattern, tmp_path):
    model = make_tiny(tmp_path, hidden_size=64, kv_heads=4 if architecture == "gpt2" else 2, architecture=architecture).load()
    masks = sparse_masks.drawn(model, sparsity=sparsity, pattern=pattern, seed=0)
    assert len(masks) == (14 if architecture == "llama" else 8)  # all linear layers of two blocks
    for name, mask in masks.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        assert mask.sum() == round((1 - sparsity) * layer.weight.numel())
        if pattern == "2:4":
            by_input = mask.T if isinstance(layer, Conv1D) else mask
            assert (by_input.reshape(-1, 4).sum(1) == 2).all()
        if pattern == "magnitude":
            assert layer.weight[mask].abs().min() >= layer.weight[~mask].abs().max()
    again = sparse_masks.drawn(model, sparsity=sparsity, pattern=pattern, seed=0)
    assert all(torch.equal(mask, again[name]) for name, mask in masks.items())


@given(shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_stored_masks_are_the_same_and_take_a_bit_each(shapes, seed, tmp_path_factory):
    generator = torch.Generator().manual_seed(seed)
    masks = {f"layer{n}.weight": torch.rand(shape, generator=generator) > 0.5 for n, shape in enumerate(shapes)}
    folder = tmp_path_factory.mktemp("masks")
    sparse_masks.store(masks, folder, seed=seed)
    found = sparse_masks.stored(folder)
    assert found.keys() == masks.keys()
    assert all(torch.equal(mask, found[name]) for name, mask in masks.items())
    assert sum(tensor.numel() for tensor in map(sparse_masks._packed, masks.values())) == sum(
        math.ceil(mask.numel() / 8) for mask in masks.values()
    )


def test_training_equals_a_reference_that_masks_in_the_forward_pass():
    """AdamW with decay and clipping, 50 steps in float64: masked weights stay bit-exactly zero, kept ones agree."""
    generator = torch.Generator().manual_seed(0)
    config = LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, tie_word_embeddings=True
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = AutoModelForCausalLM.from_config(config).double()
        theirs = AutoModelForCausalLM.from_config(config).double()
    masks = sparse_masks.drawn(ours, sparsity=0.75, pattern="random", seed=0)
    sparse_masks.apply(ours, masks)
    theirs.load_state_dict(ours.state_dict())
    sparse_masks.keep_zero(ours, masks)
    for name, mask in masks.items():  # the reference: W * M is formed in the forward pass
        nn.utils.parametrize.register_parametrization(theirs.get_submodule(name.removesuffix(".weight")), "weight", Times(mask))
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1) for model in (ours, theirs)]
    for _ in range(50):
        ids = torch.randint(0, 40, (2, 12), generator=generator)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            for half in ids:  # in two parts, as with gradients that are summed
                model(input_ids=half[None], labels=half[None]).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    for name, mask in masks.items():
        weight = ours.get_parameter(name)
        assert (weight[~mask] == 0).all()
        torch.testing.assert_close(weight, theirs.get_submodule(name.removesuffix(".weight")).weight, atol=1e-12, rtol=0)
    torch.testing.assert_close(ours.model.embed_tokens.weight, theirs.model.embed_tokens.weight, atol=1e-12, rtol=0)


class Times(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, weight):
        return weight * self.mask


def test_the_engine_keeps_the_zeros_and_any_other_training_fills_them(sparse, tmp_path):
    masks = sparse_masks.stored(sparse.path)
    masked = sum(int((~mask).sum()) for mask in masks.values())
    assert sparse.facts["masked_weights"] == masked == sum(round(0.75 * mask.numel()) for mask in masks.values())
    assert zeros(sparse, masks) == (masked, 0)
    lines = [json.loads(line) for line in (sparse.path.parent / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"] - 1
    dense = continued(sparse, CORPUS, epochs=1, sequence_length=64, batch_tokens=512, precision="float32", workdir=tmp_path)
    assert zeros(dense, masks)[1] > 0.95 * masked  # rows of tokens that never occurred may stay


def test_training_on_keeps_the_masks_of_the_first_training(sparse, tmp_path):
    again = sparse_then_dense(sparse, CORPUS, **SHORT, seed=5, workdir=tmp_path / "again")
    masks = sparse_masks.stored(sparse.path)
    assert all(torch.equal(mask, masks[name]) for name, mask in sparse_masks.stored(again.path).items())
    assert zeros(again, masks)[1] == 0
    with pytest.raises(ValueError, match=r"masks of sparsity 0.75, and sparsity=0.5"):
        sparse_then_dense(sparse, CORPUS, **SHORT, sparsity=0.5, workdir=tmp_path / "other")
    bare = Model.of(sparse.load(), sparse.tokenizer(), tmp_path / "bare")
    with pytest.raises(ValueError, match=r"75% of .* are zeros, but .* has no sparse_masks"):
        sparse_then_dense(bare, CORPUS, **SHORT, workdir=tmp_path / "lost")


def test_rescaled_weights_have_the_variance_of_dense_ones(new, tmp_path):
    made = sparse_then_dense(new, CORPUS, **(SHORT | {"tokens": 200}), rescale=True, workdir=tmp_path)
    before, start = new.load(), Model.open(tmp_path / "initial").load()
    for name, mask in sparse_masks.stored(made.path).items():
        torch.testing.assert_close(start.get_parameter(name), before.get_parameter(name) * mask * 2)


def test_lost_zeros_end_the_training(sparse):
    masks, network = sparse_masks.stored(sparse.path), sparse.load()
    step = Step(step=50, steps=100, tokens=0, loss=1.0, network=network, optimizer=torch.optim.SGD(network.parameters(), lr=1))
    assert Watchman(masks)(step) is None
    with torch.no_grad():
        network.model.layers[1].mlp.up_proj.weight.add_(1e-9)
    with pytest.raises(RuntimeError, match=r"masked weights of model.layers.1.mlp.up_proj.weight are no longer zero"):
        Watchman(masks)(step)


def test_an_interrupted_training_ends_as_if_it_had_not_been(sparse, tmp_path):
    start = Masked(sparse.path)
    rows = pack([TokenSequence.of_text([5, 6, 7, 8, 9] * 5, "lesson") for _ in range(12)], sequence_length=32)

    def train(folder, watch):
        schedule = Schedule(epochs=1, steps=12, rows_per_step=2, learning_rate=1e-3)
        return fit(
            start, rows, [], schedule, adapter=None, precision="float32", checkpoint_seconds=0, seed=0, workdir=folder, method="x",
            watch=watch,
        )  # fmt: skip

    def stop(step):
        if step.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Watch(on_step=stop))
    cut, whole = train(tmp_path / "cut", Watch()).load(), train(tmp_path / "whole", Watch()).load()
    assert all(torch.equal(weight, whole.get_parameter(name)) for name, weight in cut.named_parameters())


@pytest.mark.parametrize(
    ("config", "sparsity", "saving"),
    [
        (GPT2Config(n_layer=24, n_embd=2048, n_head=16, n_positions=2048), 0.5, 1.66),
        (GPT2Config(n_layer=24, n_embd=2048, n_head=16, n_positions=2048), 0.75, 2.49),
        (GPT2Config(n_positions=2048), 0.5, 1.36),
        (GPT2Config(n_positions=2048), 0.75, 1.65),
    ],
)
def test_the_papers_flops(config, sparsity, saving):
    found = flops(config, sparsity=sparsity, lengths=[2048])
    wide, deep, kept = config.n_embd, config.n_layer, 1 - sparsity
    rest = 4 * deep * 2048 * wide + 2 * wide * 50257
    assert found.dense == 3 * 2048 * (2 * 12 * deep * wide**2 + rest)
    assert found.sparse == 3 * 2048 * (2 * kept * 12 * deep * wide**2 + rest)
    assert found.saving == pytest.approx(saving, abs=0.006)  # 1.665 is told as 1.66
    half = flops(config, sparsity=sparsity, lengths=[2048], dense_share=0.5)
    assert half.sparse == (found.sparse + found.dense) // 2


def test_the_dense_flops_are_those_that_torch_counts(new):
    model, ids = new.load(), torch.arange(64)[None] + 5
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids).logits.sum().backward()
    assert flops(model.config, sparsity=0.5, lengths=[64]).dense == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_what_training_saved_is_told_with_the_model(sparse):
    facts = sparse.facts
    assert facts["flops"] > facts["flops_with_zeros_skipped"] > facts["flops"] / 4
    tokens = (facts["flops"] - facts["flops_with_zeros_skipped"]) / 6 / facts["masked_weights"]
    assert tokens == pytest.approx(facts["tokens_trained"], rel=0.05)  # a sequence's last place predicts nothing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity=1.0"),
        ({"sparsity": -0.1}, "sparsity=-0.1"),
        ({"sparsity": 0.75, "pattern": "2:4"}, "pattern='2:4'"),
        ({"sparsity": 0.99999}, "leaves nothing of"),
        ({"batch_tokens": 0}, "batch_tokens=0"),
    ],
)
def test_bad_settings_are_refused(new, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sparse_then_dense(new, CORPUS, **(SHORT | options), workdir=tmp_path)


def test_a_trained_model_is_masked_by_magnitude_only(new, tmp_path):
    network = new.load()
    with torch.no_grad():  # one direction that the data has taught
        network.model.layers[0].mlp.down_proj.weight += 0.02
    trained = Model.of(network, new.tokenizer(), tmp_path / "trained")
    with pytest.raises(ValueError, match="looks trained"):
        sparse_then_dense(trained, CORPUS, **SHORT, workdir=tmp_path / "random")
    made = sparse_then_dense(trained, CORPUS, **(SHORT | {"tokens": 200}), pattern="magnitude", workdir=tmp_path / "magnitude")
    assert zeros(made, sparse_masks.stored(made.path))[1] == 0


def test_dead_rows_are_told(new, caplog):
    with caplog.at_level("WARNING"):
        sparse_masks.drawn(new.load(), sparsity=0.99, pattern="random", seed=0)
    assert "columns and" in caplog.text
