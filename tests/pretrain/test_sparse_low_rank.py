"""Sparse plus low-rank layers against dense algebra in float64, the sheet's table, and their way to disk and back."""

import json
import subprocess
import sys
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, LlamaConfig

from metier.artifacts import Model
from metier.engines.text.pack import pack
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.fit import Schedule, fit
from metier.models.source import open_model
from metier.models.tiny import make_tiny
from metier.pretrain import factored_linear
from metier.pretrain.factored_linear import FactoredLinear
from metier.pretrain.fresh_weights import looks_trained
from metier.pretrain.sparse_low_rank import merge, sizes, sparse_low_rank

SMALL = {"rank": 8, "density": 0.05}


def tiny(architecture="llama"):
    """A new model of two layers of 64."""
    config = {"llama": LlamaConfig(hidden_size=64, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2)}
    made = config.get(architecture)
    if made is None:
        from transformers import GPT2Config

        made = GPT2Config(n_embd=64, n_head=4, n_positions=128)
    made.num_hidden_layers, made.vocab_size, made.tie_word_embeddings = 2, 512, True
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(made, dtype=torch.float32).eval()


def layer(inputs, outputs, rank, density, bias=True):
    made = FactoredLinear(inputs, outputs, rank=rank, density=density, alpha=4.0, bias=bias, dtype=torch.float64)
    made.draw(0, "layer")
    nn.init.normal_(made.up, generator=torch.Generator().manual_seed(1))
    return made


@settings(max_examples=25, deadline=None)
@given(
    inputs=st.integers(3, 20), outputs=st.integers(1, 20), rank=st.integers(1, 5), tokens=st.integers(1, 9), block=st.integers(1, 500),
    density=st.floats(0.1, 0.9), seed=st.integers(0, 99),
)  # fmt: skip
def test_values_and_gradients_are_those_of_a_dense_weight(inputs, outputs, rank, tokens, block, density, seed):
    ours = layer(inputs, outputs, rank, density)
    x = torch.randn(2, tokens, inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    upstream = torch.randn(2, tokens, outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    parts = [x, ours.up, ours.down, ours.weight, ours.bias]

    sparse = torch.zeros(outputs * inputs, dtype=torch.float64).index_put((ours.index.long(),), ours.weight).view(outputs, inputs)
    expected = x @ (ours.up @ ours.down * 4.0 / rank + sparse).T + ours.bias
    whole, factored_linear.BLOCK = factored_linear.BLOCK, block
    try:
        found = ours(x)
        found_gradients = torch.autograd.grad(found, parts, upstream)
    finally:
        factored_linear.BLOCK = whole
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    for found_one, expected_one in zip(found_gradients, torch.autograd.grad(expected, parts, upstream), strict=True):
        torch.testing.assert_close(found_one, expected_one, atol=1e-10, rtol=1e-10)


def test_the_support_is_uniform_over_the_matrix_without_replacement_and_the_values_within_their_bounds():
    made = FactoredLinear(100, 200, rank=4, density=0.3, alpha=4.0, bias=True)
    made.draw(3, "layer")
    assert len(made.index) == 6000 == len(set(made.index.tolist()))
    rows = torch.bincount(made.index.long() // 100, minlength=200).double()
    assert rows.std() == pytest.approx((100 * 0.3 * 0.7) ** 0.5, rel=0.2)  # a fixed number per row would have 0
    for values, fan in ((made.weight, 100), (made.down, 100), (made.bias, 200)):
        assert values.abs().max() <= fan**-0.5
        if values.numel() >= 400:
            assert values.detach().std() == pytest.approx((1 / 3 / fan) ** 0.5, rel=0.05)
    assert made.up.abs().max() == 0
    assert made.dense().count_nonzero() == 6000
    again, other = (FactoredLinear(100, 200, rank=4, density=0.3, alpha=4.0, bias=True) for _ in range(2))
    again.draw(3, "layer")
    other.draw(3, "another")
    assert torch.equal(again.index, made.index) and not torch.equal(other.index, made.index)


SHAPES = {
    "60M": (512, 1376, 8, 8, 128, 0.03), "130M": (768, 2048, 12, 12, 256, 0.03), "350M": (1024, 2736, 24, 16, 256, 0.03),
    "1B": (2048, 5461, 24, 32, 512, 0.03), "7B": (4096, 11008, 32, 32, 1024, 0.05),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "millions", "gigabytes", "dense", "low_rank", "low_rank_gigabytes"),
    [
        ("60M", 43.5, 0.27, 58, 43, 0.26),
        ("130M", 96.5, 0.60, 134, 94, 0.56),
        ("350M", 194.3, 1.24, 368, 185, 1.11),
        ("1B", 645.5, 4.16, 1339, 609, 3.66),
        ("7B", 3144.7, None, 6738, None, None),
    ],
)
def test_the_papers_table_of_parameters_and_memory(name, millions, gigabytes, dense, low_rank, low_rank_gigabytes):
    hidden, inner, layers, heads, rank, density = SHAPES[name]
    config = LlamaConfig(
        vocab_size=32000, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        tie_word_embeddings=False,
    )  # fmt: skip
    found = sizes(config, rank=rank, density=density)
    assert round(found.trained / 1e6, 1) == millions
    assert round(found.dense / 1e6) == dense
    if gigabytes is not None:
        assert round(found.memory_bytes(index_bytes=8) / 1e9, 2) == gigabytes
        alone = sizes(config, rank=rank, density=0)
        assert (round(alone.trained / 1e6), round(alone.memory_bytes() / 1e9, 2)) == (low_rank, low_rank_gigabytes)


def test_the_planned_size_is_the_models_own():
    model = tiny()
    changed = sparse_low_rank(model, **SMALL)
    planned = sizes(model.config, **SMALL)
    assert planned.trained == sum(weight.numel() for weight in changed.parameters())
    assert planned.nonzeros == sum(len(module.index) for module in changed.modules() if isinstance(module, FactoredLinear))
    assert planned.dense == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_saved_opened_and_merged_it_says_the_same(architecture, tmp_path):
    model = tiny(architecture)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    changed = sparse_low_rank(model, **SMALL)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    for module in changed.modules():
        if isinstance(module, FactoredLinear):
            nn.init.normal_(module.up, std=0.1, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(3, 500, (2, 17), generator=torch.Generator().manual_seed(2))
    expected = changed(input_ids=ids).logits
    tokenizer = open_model("tiny").tokenizer()
    opened = Model.of(changed, tokenizer, tmp_path / "factored").load()
    torch.testing.assert_close(opened(input_ids=ids).logits, expected, atol=0, rtol=0)
    plain = Model.of(merge(opened), tokenizer, tmp_path / "merged").load()
    assert type(plain) is type(model) and plain.state_dict().keys() == before.keys()
    torch.testing.assert_close(plain(input_ids=ids).logits, expected, atol=1e-6, rtol=1e-5)
    half = Model.open(tmp_path / "factored").load(dtype=torch.bfloat16)
    assert {buffer.dtype for name, buffer in half.named_buffers() if name.endswith("index")} == {torch.int32}


def test_a_process_without_metier_opens_what_is_merged_and_refuses_the_rest(tmp_path):
    changed = sparse_low_rank(tiny(), **SMALL)
    changed.save_pretrained(tmp_path / "factored")
    merge(changed).save_pretrained(tmp_path / "merged")
    code = "import sys\nfrom transformers import AutoModelForCausalLM as Auto\nfor folder in sys.argv[1:]:\n    try:\n"
    code += "        Auto.from_pretrained(folder)\n        print('opened')\n    except Exception as error:\n        print('refused')\n"
    code += "assert not any(name.startswith('metier') for name in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "factored", tmp_path / "merged"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused", "opened"]


def test_a_checkpoint_without_its_support_is_refused_by_the_layers_name(tmp_path):
    from safetensors.torch import load_file, save_file

    sparse_low_rank(tiny(), **SMALL).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if name.endswith("down_proj.index"))
    weights[name] = torch.zeros_like(weights[name])
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{name} does not say where"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{name} does not say where"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


class Peak(TorchDispatchMode):
    """The most bytes that tensors made within it held at a time."""

    def __init__(self):
        super().__init__()
        self.live, self.most, self.known = 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage())
        return made

    def add(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.live += size
            self.most = max(self.most, self.live)
            weakref.finalize(storage, self.drop, key, size)

    def drop(self, key, size):
        self.known.discard(key)
        self.live -= size


def test_neither_pass_holds_a_matrix_of_the_size_of_the_dense_one(monkeypatch):
    monkeypatch.setattr(factored_linear, "BLOCK", 1 << 14)
    made = FactoredLinear(512, 512, rank=8, density=0.03, alpha=4.0, bias=False)
    made.draw(0, "layer")
    dense, block, factored = 512 * 512 * 4, (1 << 14) * 4, sum(part.nbytes for part in made.parameters())
    x = torch.randn(16, 512, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with Peak() as peak:
        made(x).square().sum().backward()
    assert peak.most < 2 * block + 3 * factored + 8 * x.nbytes < dense


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_is_trained_by_the_engine_like_any_other_and_stays_factored(precision, tmp_path):
    start = Model.of(sparse_low_rank(tiny(), **SMALL), open_model("tiny").tokenizer(), tmp_path / "initial")
    rows = pack([TokenSequence.of_text([5, 6, 7, 8] * 12, "lesson") for _ in range(16)], sequence_length=96)
    schedule = Schedule(epochs=1, steps=30, rows_per_step=2, learning_rate=1e-2)
    trained = fit(
        start, rows, [], schedule, adapter=None, precision=precision, checkpoint_seconds=1e9, seed=0, workdir=tmp_path, method="x"
    )
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.2 * losses[0]
    before, after = start.load(), trained.load()
    for name, module in after.named_modules():
        if isinstance(module, FactoredLinear):
            assert torch.equal(module.index, before.get_submodule(name).index)
            assert module.up.abs().max() > 0
            assert not torch.equal(module.weight, before.get_submodule(name).weight)


def test_a_warm_start_keeps_the_most_and_the_rank_of_the_weight_is_full():
    model = tiny()
    changed = sparse_low_rank(model, rank=8, density=0.2, init="svd")
    for name, module in changed.named_modules():
        if isinstance(module, FactoredLinear):
            weight = model.get_submodule(name).weight.detach().double()
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
            rest = weight - left[:, :8] * values[:8] @ right[:8]
            dropped = rest.abs().flatten().sort().values[: weight.numel() - len(module.index)]
            torch.testing.assert_close((module.dense().double() - weight).norm(), dropped.norm(), rtol=1e-4, atol=0)
            assert torch.linalg.matrix_rank(module.up.double() @ module.down.double()) == 8
            assert torch.linalg.matrix_rank(module.dense().double()) == min(weight.shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank=0"),
        ({"density": 1.0}, "density=1.0"),
        ({"density": 0.0}, "density=0.0"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"rank": 8, "density": 1e-9}, "without a sparse value"),
        ({"rank": 24, "density": 0.1}, r"would make .*k_proj \(32 x 64\) larger, 2,508 weights instead of 2,048"),
        ({"target_modules": ["query"]}, r"target_modules=\['query'\] match none of the 15"),
        ({"target_modules": ["lm_head"]}, "match the head"),
    ],
)
def test_what_would_grow_or_miss_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sparse_low_rank(tiny(), **({"rank": 8} | options))


def test_a_trained_model_is_not_drawn_anew():
    model = tiny()
    weight = model.model.layers[1].mlp.down_proj.weight
    with torch.no_grad():  # one direction that the data has taught
        weight += 0.2 * torch.outer(torch.ones(64), torch.ones(128)) / 8
    with pytest.raises(ValueError, match=r"layers.1.mlp.down_proj .* looks trained"):
        sparse_low_rank(model, **SMALL)
    assert sparse_low_rank(model, **SMALL, init="svd").num_parameters() > 0
    with pytest.raises(ValueError, match="factored already"):
        sparse_low_rank(sparse_low_rank(tiny(), **SMALL), **SMALL)
    with pytest.raises(ValueError, match="no sparse plus low-rank layer"):
        merge(tiny())


@given(
    rows=st.integers(16, 80), columns=st.integers(16, 80), seed=st.integers(0, 999), kind=st.sampled_from(["normal", "uniform"])
)
@settings(max_examples=60, deadline=None)
def test_drawn_matrices_do_not_look_trained_and_one_direction_does(rows, columns, seed, kind):
    generator = torch.Generator().manual_seed(seed)
    drawn = (
        torch.randn(rows, columns, generator=generator)
        if kind == "normal"
        else torch.rand(rows, columns, generator=generator) - 0.5
    )
    masked = drawn * (torch.rand(rows, columns, generator=generator) > 0.75)
    assert not looks_trained(drawn)
    assert not looks_trained(0.02 * masked)
    taught = (
        drawn / drawn.std()
        + 3 * (rows**0.5 + columns**0.5) * torch.outer(torch.ones(rows), torch.ones(columns)) / (rows * columns) ** 0.5
    )
    assert looks_trained(taught)
    assert not looks_trained(torch.ones(rows, columns))


def test_no_layer_of_the_tiny_model_looks_trained(tmp_path):
    new = make_tiny(tmp_path).load()
    assert not any(looks_trained(module.weight) for module in new.modules() if isinstance(module, nn.Linear))
