"""Passage and exercises as one text: every part is in it, once; frames come at the paper's rates; braces mean nothing."""

import random
from collections import Counter

import pytest

from metier.engines.data.exercises import Exercise
from metier.engines.data.reading import compose, title_of

PARTS = ["First sentence here. ", "Second sentence here. ", "Third sentence here."]
NLI = [Exercise("nli", "entail", f"Premise {number}.", f"so it is {number}.", "Thus") for number in range(4)]
TOPIC = Exercise("words", "topic", "This chapter", "birds.", "is about")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("A title\nThe text below it.", "A title"),
        ("A title.\n\nThe text below it.", "A title."),
        ("One line only", None),
        ("A line that\ngoes on here in the same sentence.", None),
        ("x" * 301 + "\n" + "y" * 400, None),
        ("A first line longer than the rest.\nShort.", None),
        ("\n\n", None),
    ],
)
def test_titles_are_told_from_text(text, title):
    found, body = title_of(text)
    assert found == title
    assert body == (text.strip() if title is None else text.partition("\n")[2].strip())


def test_exercises_stay_together_by_kind_and_are_two_of_a_label():
    for seed in range(50):
        text, counts = compose("Title", PARTS, [*NLI, TOPIC], "birds", random.Random(seed))
        assert counts["nli"] == 2
        assert counts["words"] == 1
        premises = [text.find(f"Premise {number}.") for number in range(4)]
        places = sorted(place for place in premises if place >= 0)
        assert len(places) == 2
        assert not places[0] < text.find("This chapter") < places[1]
        assert "".join(PARTS)[:20] in text
        assert text.count("Third sentence here.") == 1
        assert ("Title" in text) or counts["title"] == 0
        assert "{" not in text


def test_frames_come_at_the_rates_of_the_paper():
    def rates(title, parts):
        seen = Counter()
        for seed in range(4000):
            counts = compose(title, parts, [], "birds", random.Random(seed))[1]
            seen[counts["title"], counts["completion"]] += 1 / 4000
        return seen

    assert rates("Title", PARTS) == pytest.approx({(1, 0): 0.4, (0, 1): 0.1, (1, 1): 0.4, (0, 0): 0.1}, abs=0.03)
    assert rates(None, PARTS) == pytest.approx({(0, 1): 0.5, (0, 0): 0.5}, abs=0.03)
    assert rates("Title", PARTS[:1]) == pytest.approx({(1, 0): 0.5, (0, 0): 0.5}, abs=0.03)
    assert rates(None, []) == {(0, 0): pytest.approx(1)}


def test_four_fifths_of_the_pairs_are_classified():
    def answers(label, second):
        ends = Counter()
        for seed in range(3000):
            text = compose(None, ["x"], [Exercise("nli", label, "P.", second, "Thus")], "birds", random.Random(seed))[0]
            ends[text.rsplit(" ", 1)[1]] += 1 / 3000
        return ends

    found = answers("contradict", "zebra.")
    assert set(found) == {"No", "However", "contradiction", "Zebra."}
    assert found["Zebra."] == pytest.approx(0.2, abs=0.03)
    assert set(answers("neutral", "zebra.")) == {"Maybe", "Moreover", "neutral", "Zebra."}
    assert set(answers("entail", "zebra.")) == {"Yes", "Therefore", "entailment", "Zebra."}


def test_braces_in_a_document_mean_nothing():
    exercise = Exercise("words", "definition", "{domain}", "a {0} with {title} and {passage}.", "is defined as")
    for seed in range(30):
        text, _ = compose("{rest}", ["Code {x} here. ", "And {second}."], [exercise], "birds", random.Random(seed))
        assert "{domain}" in text
        assert "a {0} with {title} and {passage}." in text
        assert "And {second}." in text


def test_all_that_a_model_wrote_is_asked():
    written = [Exercise("written", "written", f"Question {number}?", f"answer {number}") for number in range(5)]
    text, counts = compose(None, ["x"], written, "birds", random.Random(0))
    assert counts["written"] == 5
    assert all(f"Answer {number}" in text for number in range(5))
