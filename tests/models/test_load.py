import pytest

from metier.method import record_of
from metier.models.load import load
from metier.models.tiny import make_tiny


def test_a_string_gives_a_model_whose_fingerprint_follows_the_weights(tmp_path):
    make_tiny(tmp_path / "a", seed=0)
    make_tiny(tmp_path / "b", seed=1)
    fingerprint = record_of(load).fingerprint
    assert load(source=str(tmp_path / "a")).load().config.num_hidden_layers == 2
    assert (
        fingerprint(source=str(tmp_path / "a"))
        == fingerprint(source=str(tmp_path / "a"))
        != fingerprint(source=str(tmp_path / "b"))
    )


def test_what_does_not_exist_is_named(tmp_path):
    with pytest.raises((FileNotFoundError, ValueError), match="gone"):
        load(source=str(tmp_path / "gone"))
