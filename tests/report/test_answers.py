import pytest

from metier.artifacts import Scores
from metier.report.answers import answers
from metier.report.excerpt import Excerpt


@pytest.fixture
def questions(score):
    """Scores of choice questions, told by who was right: "g" the specialist only, "l" the base only, "b" both, "n" neither."""

    def make(outcomes):
        rows = []
        for number, outcome in enumerate(outcomes):
            for model, right in (("base", outcome in "lb"), ("candidate", outcome in "gb")):
                chosen = 1 if right else 0
                row = score(
                    "choice", str(number), "task", model, "Which?", options=["wrong one", "right one"], gold=1, chosen=chosen
                )
                rows.append(row | {"numerator": float(right)})
        return Scores.from_rows(rows)

    return make


@pytest.mark.parametrize(
    ("outcomes", "most", "gained_shown", "lost_shown"),
    [
        ("g" * 30 + "l" * 10, 8, 6, 2),
        ("g" * 99 + "l", 5, 4, 1),  # one loss among a hundred is shown
        ("g" + "l" * 99, 5, 1, 4),
        ("gggll", 10, 3, 2),
        ("lll", 2, 0, 2),
        ("ggg", 2, 2, 0),
        ("bbnn", 5, 0, 0),
        ("gl", 1, 1, 0),
        ("gl", 0, 0, 0),
    ],
)
def test_gained_and_lost_questions_are_shown_in_proportion(questions, outcomes, most, gained_shown, lost_shown):
    found = answers([questions(outcomes)], most)
    shown = [[answer.right for answer in exchange.answers] for exchange in found.differing]
    assert shown == [[False, True]] * gained_shown + [[True, False]] * lost_shown
    assert (found.num_gained, found.num_lost) == (outcomes.count("g"), outcomes.count("l"))


def test_the_option_chosen_is_the_answer(questions):
    (exchange,) = answers([questions("g")], 3).differing
    assert [(answer.model, answer.text.short) for answer in exchange.answers] == [
        ("Base", "wrong one"),
        ("Specialist", "right one"),
    ]


def test_samples_keep_their_order_and_stand_base_first(score):
    rows = [score("sample", item, "open", model, f"prompt {item}", completion=f"{model} says {item}", answer="so")
            for item in ("b", "a", "c") for model in ("candidate", "base")]  # fmt: skip
    found = answers([Scores.from_rows(rows)], 2)
    assert [exchange.prompt.short for exchange in found.samples] == ["prompt b", "prompt a"]
    assert [answer.text.short for answer in found.samples[0].answers] == ["base says b", "candidate says b"]
    assert found.samples[0].expected.short == "so"
    assert found.num_samples == 3


def test_one_model_under_its_own_name_has_answers_and_no_differences(score):
    rows = [
        score("sample", "1", "open", "hf://org/name", "prompt", completion="said"),
        score("choice", "2", "t", "hf://org/name", "p"),
    ]
    found = answers([Scores.from_rows(rows)], 5)
    assert [[answer.model for answer in exchange.answers] for exchange in found.samples] == [["hf://org/name"]]
    assert found.differing == []


def test_an_item_scored_in_two_ways_counts_as_scored_first(questions):
    rows = list(questions("g").rows())
    again = [row | {"metric": "accuracy per token", "numerator": 0.0} for row in rows]
    assert answers([Scores.from_rows(rows + again)], 5).num_gained == 1


def test_an_excerpt_cuts_at_a_word_and_short_texts_not_at_all():
    text = "one two three four five six seven eight nine ten"
    cut = Excerpt.of(text, 20)
    assert (cut.short, cut.full, cut.left_out) == ("one two three four …", text, 0)
    assert Excerpt.of(text, 40) == Excerpt(text, "", 0, len(text))
    assert Excerpt.of("x" * 50, 20).short == "x" * 20 + " …"
    assert Excerpt.of("  ", 20) == Excerpt("", "", 0, 0)
