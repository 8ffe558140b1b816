import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from metier.engines.train.chunked_cross_entropy import chunked_cross_entropy


@given(tokens=st.integers(0, 20), chunk=st.integers(1, 25), seed=st.integers(0, 5))
def test_loss_and_gradients_equal_the_plain_ones_for_any_chunk(tokens, chunk, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 11, (tokens,), generator=generator)
    plain = functional.cross_entropy(hidden @ weight.T, labels, reduction="sum")
    found = chunked_cross_entropy(hidden, weight, labels, chunk_tokens=chunk)
    assert torch.allclose(found.total.double(), plain, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found.nll.double().sum(), plain, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(3 * found.total, [hidden, weight]), torch.autograd.grad(3 * plain, [hidden, weight]), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_very_unlikely_token_has_a_finite_loss():
    hidden, weight = torch.tensor([[300.0]]), torch.tensor([[1.0], [-1.0]])
    assert chunked_cross_entropy(hidden, weight, torch.tensor([1])).total.item() == pytest.approx(600.0)


def test_a_frozen_head_gets_no_gradient_and_its_memory_is_not_spent():
    hidden, weight = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3)
    chunked_cross_entropy(hidden, weight, torch.tensor([0, 1, 2, 3])).total.backward()
    assert weight.grad is None
    assert hidden.grad.shape == (4, 3)


def test_wrong_shapes_and_chunks_are_refused():
    with pytest.raises(ValueError, match="4 hidden states and 3 labels"):
        chunked_cross_entropy(torch.randn(4, 3), torch.randn(5, 3), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="chunk_tokens=0"):
        chunked_cross_entropy(torch.randn(1, 3), torch.randn(5, 3), torch.tensor([0]), chunk_tokens=0)
