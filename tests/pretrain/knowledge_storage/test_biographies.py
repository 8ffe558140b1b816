import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.pretrain.knowledge_storage.biographies import Augmentation, biographies
from metier.pretrain.knowledge_storage.people import ATTRIBUTES, TEMPLATES, made_values, read_values

FORMS = ["single", "multi3", "single+permute4", "multi2+permute", "multi2+couple", "single+fullname", "multi3+permute+fullname"]


def test_values_are_as_many_as_in_the_paper_and_none_is_told_twice():
    values = made_values(0)
    sizes = [len(set(part)) for part in (values.first, values.middle, values.last, values.city, values.university, values.field)]
    assert sizes == [400, 400, 1000, 200, 300, 100] and len(values.company) == 263
    capital = Counter(values.company.values())[values.city[0]]
    assert capital / 263 == pytest.approx(0.137, abs=5e-4)
    assert {len(set(templates)) for templates in TEMPLATES.values()} == {49}
    assert values == made_values(0) != made_values(1)


@settings(deadline=None, max_examples=15)
@given(form=st.sampled_from(FORMS), seed=st.integers(0, 99))
def test_every_entry_holds_all_values_of_one_person_where_it_says(form, seed):
    made = biographies(people=6, augmentation=form, seed=seed)
    facts = {(row["entity"], row["attribute"]): row["value"] for row in made.facts.rows()}
    rows, shape = list(made.corpus.rows()), Augmentation.of(form)
    assert len(rows) == 6 * shape.entries * max(1, shape.orders) and len({row["entity"] for row in rows}) == 6
    for row in rows:
        assert all(
            row["text"].startswith(facts[row["entity"], name], start)
            for name, start in zip(ATTRIBUTES, row["starts"], strict=True)
        )
        assert row["text"].count(row["entity"]) == (6 if shape.fullname else 1)
        order = [name for _, name in sorted(zip(row["starts"], ATTRIBUTES, strict=True))]
        if not shape.orders and not shape.couple:
            assert order == list(ATTRIBUTES)
        if shape.couple:
            assert {tuple(order[at : at + 2]) for at in (0, 2, 4)} == {ATTRIBUTES[at : at + 2] for at in (0, 2, 4)}


def test_shuffles_of_a_single_entry_are_of_the_same_sentences():
    rows = list(biographies(people=1, augmentation="single+permute5+fullname", seed=3).corpus.rows())
    told = [frozenset(re.split(r"(?<=\.) (?=[A-Z])", row["text"])) for row in rows]
    assert len(set(told)) == 1 and len({row["text"] for row in rows}) > 1


def test_questions_are_about_half_of_the_people_and_the_others_are_asked():
    made = biographies(people=10, augmentation="single", celebrities=3, seed=0)
    trained = {row["entity"] for row in made.questions.rows()}
    asked = {row["source"] for row in made.examination.rows()}
    assert len(trained) == len(asked) == 5 and not trained & asked
    assert Counter(row["source"] for row in made.corpus.rows()) == {"biography": 10, "celebrity": 15}
    facts = {(row["entity"], row["attribute"]): row["value"] for row in made.facts.rows()}
    assert all(row["completion"] == f" {facts[row['entity'], row['attribute']]}" for row in made.questions.rows())
    assert all(row["answer"] == facts[row["source"], row["task"]] for row in made.examination.rows())


@pytest.mark.parametrize(
    "form",
    ["multi", "multi0", "permute", "multi5+permute2", "single+permute0", "single+fullname+permute", "single+permute+couple"],
)
def test_augmentations_that_say_nothing_are_refused(form):
    with pytest.raises(ValueError, match=re.escape(repr(form))):
        biographies(people=2, augmentation=form)


def test_lists_of_the_authors_form_are_read(tmp_path):
    for name in ("first_name", "middle_name", "last_name", "city", "university", "field"):
        (tmp_path / f"{name}.txt").write_text("A\nB\n\nA\n")
    (tmp_path / "company.txt").write_text("3M; Maplewood, MN\nAce; A\n")
    values = read_values(tmp_path)
    assert list(values.first) == ["A", "B"] and values.company == {"3M": "Maplewood, MN", "Ace": "A"}
    with pytest.raises(ValueError, match="give 1 to 4"):
        biographies(people=5, values=tmp_path)
    (tmp_path / "company.txt").write_text("3M\n")
    with pytest.raises(ValueError, match="'3M' has no city"):
        read_values(tmp_path)
