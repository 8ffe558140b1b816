import logging
import random
from collections import Counter

import pytest

from metier.artifacts import Corpus
from metier.evaluate.corpus_questions import corpus_questions

VERBS = "opens closes counts writes reads sends splits joins sorts hides folds turns".split()
THINGS = "the door of the old house;every letter in the drawer;a list of numbers;the longest river;two kinds of bread".split(";")


def summary(number):
    return f"{VERBS[number % 12].capitalize()} {THINGS[number % 5]} before number {number}."


def named(prefix, count=12, **columns):
    return Corpus.from_rows(
        {"id": f"{prefix}{i}", "text": "t", "source": f"g{i % 2}", "name": f"{prefix}.f{i}", "summary": summary(i)} | columns
        for i in range(count)
    )


def prose(count, sentences=12):
    """Documents of random words: no two sentences are alike."""
    generator = random.Random(0)

    def sentence():
        return " ".join("".join(generator.choices("abcdefghij", k=5)) for _ in range(8)).capitalize() + "."

    return Corpus.from_rows(
        {"id": f"d{i}", "text": " ".join(sentence() for _ in range(sentences)), "source": "s"} for i in range(count)
    )


def questions(train, held_out, **settings):
    return list(corpus_questions(train, held_out, **settings).rows())


def test_both_directions_and_roles_with_options_of_the_same_group():
    rows = questions(named("a"), named("b"))
    assert Counter((row["role"], row["task"].partition(" (")[0]) for row in rows) == {
        (role, direction): 12
        for role in ("acquired", "held_out")
        for direction in ("name from description", "description from name")
    }
    for row in rows:
        number = int(row["source"][1:])
        name, text = f"{'a' if row['role'] == 'acquired' else 'b'}.f{number}", summary(number)
        right, cue = (name, text) if row["task"].startswith("name") else (text, name)
        assert row["options"][row["gold"]] == right
        assert cue in row["prompt"] and right not in row["prompt"]
        assert len(set(row["options"])) == 4
        if row["task"].startswith("name"):
            assert {int(option.rpartition("f")[2]) % 2 for option in row["options"]} == {number % 2}


def test_right_answers_stand_in_every_place_equally_often():
    for direction in ("name", "description"):
        rows = [row for row in questions(named("a"), named("b")) if row["task"].startswith(direction)]
        assert Counter(row["gold"] for row in rows if row["role"] == "acquired") == dict.fromkeys(range(4), 3)


def test_wrong_options_come_from_elsewhere_where_a_group_is_small():
    lonely = Corpus.from_rows(
        {"id": f"a{i}", "text": "t", "source": f"g{i}", "name": f"a.f{i}", "summary": summary(i)} for i in range(8)
    )
    rows = questions(lonely, lonely, num_questions=3)
    assert len(rows) == 2 * 2 * 3


def test_names_of_one_description_never_stand_together(caplog):
    # f0, f1 and f2 are described alike, so with f3, f4, f5 and f6 no more than one of them can be an option
    rows = [
        {
            "id": f"a{i}",
            "text": "t",
            "source": "g",
            "name": f"f{i}",
            "summary": "Return the absolute value." if i < 3 else summary(i),
        }
        for i in range(7)
    ]
    corpus = Corpus.from_rows(rows)
    with caplog.at_level(logging.INFO):
        asked = questions(corpus, corpus)
    assert len(asked) == 7 * 4
    for row in asked:
        if row["task"].startswith("name"):
            assert len({"f0", "f1", "f2"} & set(row["options"])) <= 1
        else:
            assert row["options"].count("Return the absolute value.") <= 1
    assert "its documents: 7 of 7 documents have descriptions" in caplog.text


def test_what_lacks_wrong_options_is_skipped_and_counted(caplog):
    train = Corpus.from_rows(
        {
            "id": f"a{i}",
            "text": "t",
            "source": "g",
            "name": f"f{i}",
            "summary": "Return the absolute value." if i < 3 else summary(i),
        }
        for i in range(6)
    )
    with caplog.at_level(logging.INFO):
        rows = questions(train, named("b"), num_options=5)
    # each of f0, f1, f2 has three others that differ, and so have the three others: one short of four
    assert [row for row in rows if row["role"] == "acquired"] == []
    assert "name from description (its documents): 0 questions, 6 skipped for lack of wrong options" in caplog.text
    assert "no question could be made of the 6 documents of role acquired" in caplog.text


def test_a_description_that_holds_its_name_is_not_asked():
    rows = [{"id": f"a{i}", "text": "t", "source": "g", "name": f"f{i}", "summary": summary(i)} for i in range(8)]
    rows[3]["summary"] = "What F3 does is told elsewhere."
    corpus = Corpus.from_rows(rows)
    asked = questions(corpus, corpus)
    assert {row["source"] for row in asked} == {f"a{i}" for i in range(8) if i != 3}
    assert not any("told elsewhere" in option for row in asked for option in row["options"])


def test_documents_without_names_are_asked_to_be_continued_from_their_own_sentences():
    corpus = prose(3)
    texts = {row["id"]: row["text"] for row in corpus.rows()}
    rows = questions(corpus, corpus)
    assert {row["task"] for row in rows} == {"next sentence (its documents)", "next sentence (documents held out)"}
    assert len(rows) == 2 * 3 * 4  # four passages a document
    for row in rows:
        right = row["options"][row["gold"]]
        assert f"{row['prompt']} {right}" in texts[row["source"]]
        assert all(option in texts[row["source"]] for option in row["options"])
        assert not any(option in row["prompt"] for option in row["options"])


def test_every_document_is_asked_before_one_is_asked_twice():
    rows = [row for row in questions(prose(5), prose(5), num_questions=5) if row["role"] == "acquired"]
    assert sorted(row["source"] for row in rows) == [f"d{i}" for i in range(5)]


def test_titles_are_asked_in_both_directions():
    corpus = Corpus.from_rows(
        {"id": f"d{i}", "text": f"# Chapter {VERBS[i]}\n\n{summary(i + 1)}\n", "source": "s"} for i in range(8)
    )
    rows = questions(corpus, corpus)
    tasks = {row["task"].partition(" (")[0] for row in rows}
    assert tasks == {"title from beginning", "beginning from title"}
    asked = next(row for row in rows if row["task"].startswith("beginning") and row["source"] == "d2")
    assert asked["prompt"] == "Chapter counts\n\n"
    assert asked["options"][asked["gold"]] == summary(3)


def test_the_same_seed_gives_the_same_questions_and_the_number_is_bounded():
    first, again, other = (questions(named("a"), named("b"), num_questions=5, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 5 * 4


def test_a_large_corpus_is_drawn_from(monkeypatch):
    monkeypatch.setattr("metier.evaluate.corpus_questions.MOST_DOCUMENTS", 6)
    rows = questions(named("a"), named("b"))
    assert len({row["source"] for row in rows if row["role"] == "acquired"}) <= 6


def test_a_corpus_of_which_nothing_can_be_asked_is_refused():
    one = Corpus.from_rows([{"id": "x", "text": "short", "source": "s"}])
    with pytest.raises(ValueError, match="no question could be made of 1 training and 1 held-out documents"):
        questions(one, one)
    with pytest.raises(ValueError, match="num_options=1"):
        questions(named("a"), named("b"), num_options=1)
    with pytest.raises(ValueError, match="num_questions=0"):
        questions(named("a"), named("b"), num_questions=0)
