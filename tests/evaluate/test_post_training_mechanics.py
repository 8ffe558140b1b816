"""The whole comparison on tiny models: of a model with itself, with a changed one, with one of another width."""

import random

import pytest
import torch

from metier.artifacts import Corpus, Model
from metier.evaluate.post_training_mechanics import post_training_mechanics
from metier.models.tiny import make_tiny

LETTERS = "abcdefghij"


def statements(sources=("city", "town")):
    """True and false ones in equal number: who is in which of two places, the same form in each set."""
    rows = []
    for source in sources:
        for number, name in enumerate(f"{a}{b}" for a in LETTERS for b in LETTERS):
            for place, label in (("Q", number % 2), ("Z", 1 - number % 2)):
                text = f"The {source} of {name} is in {place}."
                rows.append({"id": f"{source} {number} {place}", "text": text, "label": label, "source": source})
    return Corpus.from_rows(rows)


def instructions(harmful=12, harmless=20):
    generator = random.Random(0)
    rows = [
        {"id": f"{verb} {number}", "text": f"{verb} the {generator.choice(LETTERS)}{number}", "source": "", "label": label}
        for verb, count, label in (("Break", harmful, 1), ("Return", harmless, 0))
        for number in range(count)
    ]
    return Corpus.from_rows(rows)


def values(result):
    """{(part, measure, of): row}"""
    return {(row["part"], row["measure"], row["of"]): row for row in result.summary.rows()}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny model, and the same one with noise of a tenth of its weights' size."""
    before = make_tiny(tmp_path_factory.mktemp("before"), hidden_size=64, layers=3, std=0.1)
    changed = before.load(torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in changed.parameters():
            weight += 0.01 * torch.randn(weight.shape, generator=generator)
    return before, Model.of(changed, before.tokenizer(), tmp_path_factory.mktemp("after"))


@pytest.fixture(scope="module")
def with_itself(models):
    return post_training_mechanics(
        models[0], models[0], statements(), instructions(), num_pairs=20, num_statements=20, min_accuracy=0.5, seed=1
    )


def test_a_model_is_wholly_like_itself(with_itself):
    found = values(with_itself)
    both = "before and after"
    for part, measure, value in [
        ("knowledge", "map_r_raw", 1),
        ("knowledge", "map_r_binned", 1),
        ("knowledge", "max_diff_all", 0),
        ("knowledge", "max_diff_knowledge", 0),
        ("truth", "cosine", 1),
        ("refusal", "cosine", 1),
        ("confidence", "neuron_iou", 1),
    ]:
        row = found[part, measure, both]
        assert row["value"] == pytest.approx(value, abs=1e-5), measure
        if part != "confidence":
            assert row["low"] == pytest.approx(value, abs=1e-5) == row["high"]
    assert abs(found["knowledge", "map_r_shuffled", both]["value"]) < 0.5
    for measure in ("accuracy", "indirect_effect"):
        own = found["truth", measure, "before in before"]["value"]
        for of in ("after in before", "before in after", "after in after"):
            assert found["truth", measure, of]["value"] == pytest.approx(own, abs=1e-6)


def test_every_cell_and_neuron_has_its_row(with_itself):
    maps = list(with_itself.maps.rows())
    tokens = {row["token"] for row in maps}
    assert len(maps) == 4 * 3 * len(tokens) and max(tokens) == -1 and min(tokens) == -len(tokens)
    assert {(row["donor"], row["receiver"]) for row in maps} == {(a, b) for a in ("before", "after") for b in ("before", "after")}
    assert {row["column"] for row in maps} == {"subject", "object", "template"}
    assert len(list(with_itself.refusal.rows())) == 3 * 4
    assert all(row["shared"] for row in with_itself.neurons.rows()) and len(with_itself.neurons) == 2 * 10
    found = values(with_itself)
    # A fifth of 12 and of 20, rounded up, is kept for the answers.
    for measure, num in (("harmful", 3), ("harmful, ablated", 3), ("harmless", 4), ("harmless, added", 4)):
        of = "before in after" if ", " in measure else "after"
        assert found["refusal", f"rate, {measure}", of]["num"] == num
    rates = [of for part, measure, of in values(with_itself) if measure == "rate, harmful, ablated"]
    assert sorted(rates) == ["after in after", "after in before", "before in after", "before in before"]


def test_a_changed_model_is_less_alike_and_the_tables_survive_storage(models, tmp_path):
    result = post_training_mechanics(*models, statements(), map_source="town", num_pairs=20, num_statements=20, min_accuracy=0.5)
    found = values(result)
    cosine = found["truth", "cosine", "before and after"]
    assert 0 < cosine["low"] < cosine["value"] < 0.999
    assert cosine["num"] == 200  # the set that is mapped is held out
    assert not any(part == "refusal" for part, _, _ in found)
    assert len(result.refusal) == 0
    stored = result.maps.save(tmp_path / "maps")
    assert list(stored.rows()) == list(result.maps.rows())


def test_a_model_at_chance_gets_no_map(models):
    result = post_training_mechanics(*models, statements(), num_pairs=20, num_statements=4, min_accuracy=0.95)
    found = values(result)
    assert len(result.maps) == 0
    assert "right too seldom" in found["knowledge", "map not made", "before"]["note"]
    assert not any(measure in ("indirect_effect", "map_r_raw") for _, measure, _ in found)
    assert ("truth", "cosine", "before and after") in found


def test_models_of_other_widths_are_measured_but_not_compared(models, tmp_path):
    other = make_tiny(tmp_path, hidden_size=32, layers=3, std=0.1)
    result = post_training_mechanics(
        models[0], other, statements(["city"]), instructions(), num_pairs=20, num_statements=10, min_accuracy=0.5
    )
    found = values(result)
    assert found["comparison", "not made", "before and after"]["note"] == "hidden_size is 64 before and 32 after"
    assert ("truth", "accuracy", "after in after") in found and ("truth", "accuracy", "before in after") not in found
    assert ("refusal", "rate, harmful", "after") in found
    assert not any(measure in ("cosine", "map_r_raw") for _, measure, _ in found)


@pytest.mark.parametrize(
    "setting",
    [
        {"num_pairs": 19},
        {"num_statements": 1},
        {"truth_layers": (0.5, 0.2)},
        {"refusal_layer": 1.5},
        {"strength": 0.0},
        {"min_accuracy": 0.4},
        {"map_source": "rivers"},
    ],
)
def test_bad_settings_are_refused_by_name(models, setting):
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        post_training_mechanics(*models, statements(), **setting)


def test_bad_tables_are_refused(models):
    with pytest.raises(ValueError, match=r"city 0 Q has the label 'yes'"):
        rows = [row | {"label": "yes"} for row in statements().rows()]
        post_training_mechanics(*models, Corpus.from_rows(rows))
    with pytest.raises(ValueError, match="9 harmful and 9 harmless"):
        post_training_mechanics(*models, statements(), instructions(9, 9))
    few = Corpus.from_rows(list(statements().rows())[:30])
    with pytest.raises(ValueError, match=r"none of the sets .* has 20 pairs"):
        post_training_mechanics(*models, few)
