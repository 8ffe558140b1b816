"""Evidence: verdicts follow from numbers, and results survive storage."""

import math

import pytest

from metier.core.errors import InputError
from metier.core.evidence import Check, exact, names, paired, prove, store, stored


def test_paired_interval_is_students_t():
    values = {0: 1.0, 1: 2.0, 2: 4.0}
    found = paired(lambda seed: values[seed], lambda seed: 0.0, claim="c", metric="m", better="higher", seeds=range(3))
    # mean 7/3, standard deviation sqrt(7/3), t(0.975, 2 degrees) = 4.302653
    half = 4.302653 * math.sqrt(7 / 3) / math.sqrt(3)
    assert found.effect == pytest.approx(7 / 3)
    assert found.interval == pytest.approx((7 / 3 - half, 7 / 3 + half), rel=1e-6)
    assert found.verdict == "not shown"


@pytest.mark.parametrize(
    ("better", "shift", "verdict"),
    [("higher", 5.0, "shown"), ("higher", -5.0, "contradicted"), ("lower", -5.0, "shown"), ("lower", 5.0, "contradicted")],
)
def test_the_verdict_follows_the_side_of_the_interval(better, shift, verdict):
    found = paired(
        lambda seed, by: seed + by + 0.01 * seed, lambda seed, by: float(seed), claim="c", metric="m", better=better, seeds=range(4),
        settings={"by": shift},
    )  # fmt: skip
    assert found.verdict == verdict
    assert found.method[1] == pytest.approx(1.01 + shift)


def test_exact_needs_every_check_and_refuses_none():
    good, bad, nan = Check("a", 1e-7, 1e-5), Check("b", 2e-5, 1e-5), Check("c", math.nan, 1e-5)
    assert exact(claim="c", metric="m", checks=[good]).verdict == "exact"
    assert exact(claim="c", metric="m", checks=[good, bad]).verdict == "contradicted"
    assert exact(claim="c", metric="m", checks=[good, bad]).effect == 2e-5
    assert exact(claim="c", metric="m", checks=[good, nan]).verdict == "contradicted"
    with pytest.raises(ValueError, match="no check was made"):
        exact(claim="c", metric="m", checks=[])


def test_too_few_seeds_and_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="three or more"):
        paired(lambda seed: 1.0, lambda seed: 0.0, claim="c", metric="m", better="higher", seeds=[0, 1])
    with pytest.raises(ValueError, match="not finite"):
        paired(lambda seed: math.inf, lambda seed: 0.0, claim="c", metric="m", better="higher", seeds=range(3))


def test_stored_evidence_is_read_back_equal(tmp_path, monkeypatch):
    monkeypatch.setattr("metier.core.evidence.proofs_folder", lambda: tmp_path)
    for found in (
        exact(claim="c", metric="m", checks=[Check("a", 1e-7, 1e-5)]),
        paired(lambda seed: 1.0 + seed, lambda seed: 0.0, claim="c", metric="m", better="higher", seeds=range(3)),
    ):
        store("family.slug", found)
        assert stored("family.slug") == found
    assert stored("family.other") is None


def test_an_unknown_proof_suggests_the_nearest():
    with pytest.raises(InputError, match=r"did you mean 'text\.pack'"):
        prove("text.pakc")


@pytest.mark.parametrize("name", names())
def test_no_proof_is_contradicted_at_its_quick_size(name):
    """Equalities hold at any size; a difference may need the full size to show, which is then what the stored evidence says."""
    found = prove(name, quick=True)
    assert found.verdict == "exact" if found.checks else found.verdict in ("shown", "not shown"), found
    assert found.seconds < 60
