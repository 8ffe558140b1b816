import pytest

from metier.artifacts import Corpus
from metier.evaluate.corpus_questions import corpus_questions

VERBS = "opens closes counts writes reads sends splits joins sorts hides folds turns".split()
THINGS = "the door of the old house;every letter in the drawer;a list of numbers;the longest river;two kinds of bread".split(";")


def named(prefix, count=12, **columns):
    return Corpus.from_rows(
        [
            {"id": f"{prefix}{i}", "text": "t", "source": f"g{i % 2}", "name": f"{prefix}.f{i}",
             "summary": f"{VERBS[i % 12].capitalize()} {THINGS[i % 5]} before number {i}."} | columns
            for i in range(count)
        ]
    )  # fmt: skip


def questions(train, held_out, **settings):
    return list(corpus_questions(train, held_out, **settings).rows())


def test_both_directions_and_roles_with_options_of_the_same_group():
    rows = questions(named("a"), named("b"))
    assert {(row["role"], row["task"].partition(" (")[0]) for row in rows} == {
        (role, direction) for role in ("acquired", "held_out") for direction in ("name from description", "description from name")
    }
    for row in rows:
        number = int(row["source"][1:])
        prefix = "a" if row["role"] == "acquired" else "b"
        name, summary = f"{prefix}.f{number}", f"{VERBS[number].capitalize()} {THINGS[number % 5]} before number {number}."
        right, cue = (name, summary) if row["task"].startswith("name") else (summary, name)
        assert row["options"][row["gold"]] == right
        assert cue in row["prompt"] and right not in row["prompt"]
        assert len(set(row["options"])) == 4
        if row["task"].startswith("name"):
            assert {int(option.rpartition("f")[2]) % 2 for option in row["options"]} == {number % 2}


def test_right_answers_stand_in_every_place_about_as_often():
    rows = [row for row in questions(named("a", 12), named("b", 12)) if row["task"].startswith("name")]
    places = [row["gold"] for row in rows if row["role"] == "acquired"]
    assert all(abs(places.count(place) - len(places) / 4) <= 2 for place in range(4))


def test_a_description_that_holds_its_name_is_not_asked():
    rows = questions(named("a", summary="Use f1 for this."), named("b"))
    assert all(row["source"] != "a1" for row in rows)


def test_documents_without_names_are_asked_to_be_continued():
    text = " ".join(f"The {verb[:-1]}er of {THINGS[i % 5]} {verb} slowly in year {i}." for i, verb in enumerate(VERBS))
    corpus = Corpus.from_rows(
        [{"id": f"d{i}", "text": text.replace("year", f"{VERBS[i]} year"), "source": "s"} for i in range(6)]
    )
    rows = questions(corpus, corpus)
    assert {row["task"].partition(" (")[0] for row in rows} == {"next sentence"}
    for row in rows:
        assert row["options"][row["gold"]] not in row["prompt"]


def test_the_same_seed_gives_the_same_questions_and_the_number_is_bounded():
    first, again, other = (questions(named("a"), named("b"), num_questions=5, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 5 * 4


def test_a_corpus_of_which_nothing_can_be_asked_is_refused():
    one = Corpus.from_rows([{"id": "x", "text": "short", "source": "s"}])
    with pytest.raises(ValueError, match="no question could be made of 1 training and 1 held-out documents"):
        questions(one, one)
    with pytest.raises(ValueError, match="num_options=1"):
        questions(named("a"), named("b"), num_options=1)
