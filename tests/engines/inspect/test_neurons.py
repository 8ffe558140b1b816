"""Entropy neurons planted in a tiny model's last feed-forward layer, and the formula in plain float64."""

import pytest
import torch

from metier.engines.inspect import neurons as module
from metier.engines.inspect.neurons import entropy_neurons, overlap, written_vectors
from metier.models.tiny import make_tiny


@pytest.fixture(params=["llama", "gpt2"])
def model(request, tmp_path):
    return make_tiny(tmp_path, hidden_size=64, std=0.3, architecture=request.param).load(torch.float32)


def reference(model):
    """Norms and variances of all neurons, one by one in float64."""
    rows = model.get_output_embeddings().weight.detach().double()
    rows = rows[rows.norm(dim=1) > 0]
    written = written_vectors(model).detach().double()
    cosines = (written / written.norm(dim=1, keepdim=True)) @ (rows / rows.norm(dim=1, keepdim=True)).T
    return written.norm(dim=1), cosines.var(dim=1, unbiased=False)


def test_norms_variances_and_choice_are_the_formulas(model, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 50_000)  # several chunks of the vocabulary
    norm, variance = reference(model)
    found = entropy_neurons(model, norm_top=0.25, num_neurons=5)
    top = norm.argsort(descending=True)[: round(0.25 * len(norm))]
    assert torch.allclose(found.norm.double(), norm, rtol=1e-5)
    assert torch.allclose(found.logit_variance[top].double(), variance[top], rtol=1e-3)
    assert found.logit_variance.isnan().sum() == len(norm) - len(top)
    assert found.chosen == top[variance[top].argsort()[:5]].tolist()


def test_a_neuron_that_moves_all_tokens_alike_is_chosen_first(tmp_path):
    model = make_tiny(tmp_path, hidden_size=64, std=0.3).load(torch.float32)
    with torch.no_grad():
        rows = model.get_output_embeddings().weight
        rows[:, 0] = 0  # no token reads this dimension
        rows[7] = 0  # and one token is padding
        model.model.layers[-1].mlp.down_proj.weight[:, 11] = 5 * torch.eye(64)[0]
    found = entropy_neurons(model)
    assert found.chosen[0] == 11
    assert found.num_dropped == 2  # the model's own padding token is another
    assert found.logit_variance[11] == 0
    assert overlap(found, found) == 1


def test_what_a_neuron_writes_is_what_the_layer_adds(model):
    """A feed-forward output is the sum of the activations times these vectors."""
    kept = {}
    block = (model.model.layers if hasattr(model, "model") else model.transformer.h)[-1]
    last = block.mlp.down_proj if hasattr(block.mlp, "down_proj") else block.mlp.c_proj
    last.register_forward_hook(lambda module, args, output: kept.update(activations=args[0], output=output))
    with torch.no_grad():
        model(torch.tensor([[3, 4, 5]]))
    bias = getattr(last, "bias", None)
    expected = kept["activations"] @ written_vectors(model) + (0 if bias is None else bias)
    assert torch.allclose(kept["output"], expected, atol=1e-4)


def test_settings_that_leave_too_few_are_refused(model):
    with pytest.raises(ValueError, match=r"norm_top=0\.0 keeps 0"):
        entropy_neurons(model, norm_top=0.0)
    with pytest.raises(ValueError, match="num_neurons=999"):
        entropy_neurons(model, num_neurons=999)


def test_mixtures_of_experts_are_refused():
    from transformers import AutoModelForCausalLM, MixtralConfig

    config = MixtralConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1
    )
    with pytest.raises(ValueError, match="mixture of experts"):
        entropy_neurons(AutoModelForCausalLM.from_config(config))
