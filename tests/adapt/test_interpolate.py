"""Weights between two models: the ends exactly, the middle by hand, and models that do not fit refused."""

import pytest
import torch

from metier.adapt.interpolate import interpolate
from metier.models.tiny import make_tiny


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return make_tiny(folder / "tuned", seed=1), make_tiny(folder / "base", seed=2)


def weights(model):
    return model.load(dtype=torch.float32).state_dict()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_is_on_the_line(pair, share, tmp_path):
    tuned, base = pair
    found = weights(interpolate(tuned, base, share=share, workdir=tmp_path))
    for name, weight in weights(tuned).items():
        expected = (1 - share) * weights(base)[name] + share * weight
        if share in (0.0, 1.0):
            assert torch.equal(found[name], expected), name
        else:
            torch.testing.assert_close(found[name], expected)


def test_inputs_stay_as_they_are(pair, tmp_path):
    before = weights(pair[0])
    interpolate(*pair, share=0.5, workdir=tmp_path)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(pair[0]).items())


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_shares_beyond_the_ends_are_refused(pair, share):
    with pytest.raises(ValueError, match=f"share={share}"):
        interpolate(*pair, share=share)


def test_a_base_of_another_shape_is_refused(pair, tmp_path):
    with pytest.raises(ValueError, match="differ in the names or shapes"):
        interpolate(pair[0], make_tiny(tmp_path / "wide", hidden_size=128))
