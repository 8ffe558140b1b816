"""Penalties and Fisher information against their definitions."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from metier.artifacts import Model
from metier.engines.text.sequences import IGNORED, TokenSequence
from metier.engines.train import resources
from metier.engines.train.elastic import Anchored, Penalty, fisher_diagonal, hold, mean_squared_gradient, own_labels
from metier.engines.train.fit import Schedule, fit
from metier.engines.train.packed_loss import lose_in_chunks
from metier.models.tiny import make_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"), layers=1, hidden_size=32, std=0.2)


def sequences(count=8, size=12):
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(10, 400, (count, size), generator=generator).tolist()
    return [TokenSequence.of_text(ids[: size - number % 5], "a") for number, ids in enumerate(texts)]


def train(model, workdir, *, learning_rate=1e-3, epochs=2):
    schedule = Schedule(epochs=epochs, rows_per_step=4, learning_rate=learning_rate, warmup=0.0, shape="constant")
    workdir.mkdir()
    made = fit(
        model, [[one] for one in sequences()], [], schedule, adapter=None, precision="float32", checkpoint_seconds=1e9, seed=0,
        workdir=workdir, method="test",
    )  # fmt: skip
    return made.load(dtype=torch.float32).state_dict()


def moved(before, after):
    return {name: float((after[name] - before[name]).abs().max()) for name in before}


def like(network, generator):
    return {name: torch.rand(weight.shape, generator=generator) for name, weight in network.named_parameters()}


@pytest.mark.parametrize("elastic", [True, False])
def test_a_pass_loses_the_penalty_once_for_each_token_with_the_gradient_of_the_definition(model, elastic):
    network, generator = model.load(dtype=torch.float32), torch.Generator().manual_seed(1)
    anchor = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    importance = like(network, generator) if elastic else {name: torch.ones_like(weight) for name, weight in anchor.items()}
    lose_in_chunks(network)
    ids = torch.tensor([sequences(1)[0].input_ids])
    labels = torch.cat([ids[:, 1:], torch.tensor([[IGNORED]])], dim=1)
    handle = hold(network, 3.0, importance if elastic else None)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.01 * torch.randn(weight.shape, generator=generator)
    network.eval()
    plain = network(input_ids=ids, labels=labels)
    plain.loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    network.zero_grad()
    network.train()
    held = network(input_ids=ids, labels=labels)
    held.loss.backward()
    expected = sum(
        1.5 * (importance[name] * (weight.detach() - anchor[name]) ** 2).sum().item()
        for name, weight in network.named_parameters()
    )
    assert held.nll.numel() == 11
    assert held.loss.item() - plain.loss.item() == pytest.approx(11 * expected, rel=1e-4)
    assert torch.equal(held.nll, plain.nll)
    for name, weight in network.named_parameters():
        difference = 3.0 * importance[name] * (weight.detach() - anchor[name])
        assert torch.allclose((weight.grad - gradients[name]) / 11, difference, atol=1e-5, rtol=1e-4)
    handle.remove()
    assert network(input_ids=ids, labels=labels).loss.item() == pytest.approx(plain.loss.item())


def test_training_holds_what_is_important_and_lets_the_rest_go(model, tmp_path):
    before = model.load(dtype=torch.float32).state_dict()
    free = train(model, tmp_path / "free")
    zero = train(Anchored(model.path, strength=0.0), tmp_path / "zero")
    assert all(torch.equal(zero[name], free[name]) for name in free)
    up = "model.layers.0.mlp.up_proj.weight"
    save_file({up: torch.ones_like(before[up])}, tmp_path / "importance.safetensors")
    held = train(Anchored(model.path, strength=1e8, importance=tmp_path / "importance.safetensors"), tmp_path / "held")
    others = [name for name in before if name != up and "down_proj" not in name]
    # AdamW divides by the gradients' size, so the first step is a whole learning rate whatever the strength; the second takes it
    # back.
    assert moved(before, held)[up] < 1.5e-3 < 3e-3 < moved(before, free)[up]
    assert all(moved(before, held)[name] > 0.6 * moved(before, free)[name] for name in others)


def test_lambda_of_a_hundred_million_moves_no_weight_by_a_ten_thousandth_in_20_small_steps(model, tmp_path):
    before, options = model.load(dtype=torch.float32).state_dict(), {"learning_rate": 2e-5, "epochs": 10}
    held = train(Anchored(model.path, strength=1e8), tmp_path / "held", **options)
    free = train(model, tmp_path / "free", **options)
    assert max(moved(before, held).values()) < 1e-4 < 2e-4 < max(moved(before, free).values())


def test_how_a_step_is_spread_over_passes_changes_nothing(model, tmp_path, monkeypatch):
    together = train(Anchored(model.path, strength=50.0), tmp_path / "together")
    monkeypatch.setitem(resources.TOKENS_AT_ONCE, "cpu", 1)
    apart = train(Anchored(model.path, strength=50.0), tmp_path / "apart")
    assert all(torch.allclose(together[name], apart[name], atol=1e-5) for name in together)
    assert max(moved(together, train(model, tmp_path / "free")).values()) > 1e-4


def test_another_penalty_is_another_training(model, tmp_path):
    file = tmp_path / "importance.safetensors"
    save_file({"a": torch.ones(1)}, file)
    marks = [model.fingerprint(), *(Anchored(model.path, strength, file).fingerprint() for strength in (1.0, 2.0))]
    save_file({"a": torch.zeros(1)}, file)
    marks += [Anchored(model.path, 1.0, file).fingerprint(), Anchored(model.path, 1.0).fingerprint()]
    assert len(set(marks)) == 5
    assert Anchored(model.path, 1.0).fingerprint() == marks[-1]


def test_the_fisher_information_of_logistic_regression_is_its_closed_form():
    generator = torch.Generator().manual_seed(0)
    inputs_NK, network = torch.randn(50, 4, generator=generator), torch.nn.Linear(4, 1)

    def losses():  # both labels, weighted by the root of their probability, for the gradient is squared
        for x_K in inputs_NK:
            for label in (1.0, 0.0):
                p = torch.sigmoid(network(x_K))[0]
                weight = (p if label else 1 - p).detach().sqrt()
                yield weight * functional.binary_cross_entropy(p, torch.tensor(label)), int(label)

    found = mean_squared_gradient(network, losses())
    p_N = torch.sigmoid(network(inputs_NK)).detach()[:, 0]
    expected_K = ((p_N * (1 - p_N))[:, None] * inputs_NK**2).mean(0)
    assert torch.allclose(found["weight"][0], expected_K, rtol=1e-4)
    assert float(found["bias"]) == pytest.approx(float((p_N * (1 - p_N)).mean()), rel=1e-4)


def test_the_fisher_diagonal_with_the_texts_labels_is_that_of_single_sequences(model):
    data, network = sequences(5), model.load(dtype=torch.float32)
    squares, tokens = {name: 0.0 for name, _ in network.named_parameters()}, 0
    for sequence in data:
        ids = torch.tensor(sequence.input_ids)
        network.zero_grad()
        functional.cross_entropy(network(input_ids=ids[None]).logits[0, :-1], ids[1:], reduction="sum").backward()
        squares = {name: squares[name] + weight.grad**2 for name, weight in network.named_parameters()}
        tokens += len(ids) - 1
    found = fisher_diagonal(network, data, labels="data")
    assert found.keys() == squares.keys()
    assert all(torch.allclose(found[name], squares[name] / tokens, rtol=1e-3, atol=1e-9) for name in found)
    assert "forward" not in network.__dict__


def test_own_labels_are_drawn_from_the_models_distribution_where_something_is_predicted(model):
    network = model.load(dtype=torch.float32)
    ids = torch.tensor([[5, 9, 200]])
    labels = torch.tensor([[IGNORED, 200, IGNORED]])
    generator = torch.Generator().manual_seed(0)
    drawn = [own_labels(network, ids, labels, generator) for _ in range(600)]
    assert all(one[0, 0] == one[0, 2] == IGNORED for one in drawn)
    p_V = network(input_ids=ids).logits[0, 1].softmax(-1).detach()
    best = int(p_V.argmax())
    share, p = sum(int(one[0, 1]) == best for one in drawn) / 600, float(p_V[best])
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 600)


def test_the_same_seed_gives_the_same_fisher_information(model):
    network = model.load(dtype=torch.float32)
    one, two, other = (fisher_diagonal(network, sequences(), rows=3, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_rows_of_a_grown_vocabulary_are_free():
    network = torch.nn.Embedding(4, 2)
    penalty = Penalty(network, 2.0, {"weight": torch.ones(3, 2)})
    with torch.no_grad():
        network.weight += torch.tensor([[1.0], [0.0], [0.0], [5.0]])
    assert penalty(network).item() == pytest.approx(2.0)  # strength / 2 * (1 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Penalty(torch.nn.Linear(2, 2), -1.0), "strength=-1.0"),
        (lambda: Penalty(torch.nn.Linear(2, 2), math.nan), "strength=nan"),
        (lambda: Penalty(torch.nn.Linear(2, 2), 1.0, {"weight": torch.ones(2, 3)}), "importance of weight has the shape"),
        (lambda: Penalty(torch.nn.Linear(2, 2), 1.0)(torch.nn.Linear(2, 3)), "sharded"),
        (lambda: Penalty(torch.nn.Linear(2, 2), 1.0)(torch.nn.Sequential()), "none of the parameters"),
    ],
)
def test_what_cannot_be_held_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_texts_that_predict_nothing_have_no_fisher_information(model):
    with pytest.raises(ValueError, match="no sequence predicts a token"):
        fisher_diagonal(model.load(dtype=torch.float32), [TokenSequence([1], [IGNORED])])
    with pytest.raises(ValueError, match="rows=0"):
        fisher_diagonal(model.load(dtype=torch.float32), sequences(), rows=0)


def test_an_anchored_model_is_opened_as_any_other(model):
    assert Anchored(model.path, 1.0).tokenizer().vocab_size == Model(model.path).tokenizer().vocab_size
