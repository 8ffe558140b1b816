"""What a model wrote: read in several forms, and believed only where the passage bears it out."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.data.written_exercises import TASKS, agreement, believed, pairs_in, request, support

PASSAGE = "The enzyme was discovered in 1976 by Müller. It loses its activity above 60 degrees."
PAIR = ("When was the enzyme discovered?", "In 1976.")


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps([{"question": PAIR[0], "answer": PAIR[1]}]),
        "Here it is:\n```json\n" + json.dumps([{"question": PAIR[0], "answer": PAIR[1]}], indent=1) + "\n```",
        '[{"question": "When was the enzyme discovered?", "answer": "In 1976."}, {"question": "And what',
        "Question: When was the enzyme discovered?\nAnswer: In 1976.",
        " When was the enzyme discovered?\nAnswer: In 1976.",  # a base model goes on after "Question:"
        "Q1: When was the enzyme discovered?\n\nA1: In 1976.\n",
    ],
)
def test_pairs_are_read_in_several_forms(answer):
    assert pairs_in(answer) == [PAIR]


def test_several_pairs_and_none():
    assert pairs_in("Question: a?\nAnswer: b\n\nQuestion: c?\nAnswer: d\ne") == [("a?", "b"), ("c?", "d\ne")]
    assert pairs_in("I cannot do that.") == []
    assert pairs_in('[{"question": 3, "answer": "x"}, "text", null]') == []
    assert pairs_in("[" * 3000) == []


@given(st.text(max_size=200))
def test_any_text_can_be_read(text):
    assert all(isinstance(question, str) and isinstance(answer, str) for question, answer in pairs_in(text))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("in 1976 by Müller", 1),
        ("It loses activity", 1),
        ("Yes.", 1),
        ("The enzyme was discovered in 1977.", 0),  # a number that isn't there
        ("enzymes discover", 1),  # by the first five letters
        ("The enzyme stops glucose transport", 1 / 4),
        ("Completely unrelated matters", 0),
        ("so it is", 0),
    ],
)
def test_support_by_hand(answer, expected):
    assert support(answer, PASSAGE) == pytest.approx(expected)


def test_each_reason_is_counted():
    pairs = [
        PAIR,
        PAIR,
        ("", "x"),
        ("What?", "..."),
        ("The enzyme", "the ENZYME!"),
        ("Who else?", "Completely unrelated matters"),
    ]
    kept, failed = believed(pairs, PASSAGE, 0.5)
    assert [(one.first, one.second) for one in kept] == [PAIR]
    assert failed == Counter({"twice": 1, "empty": 2, "same": 1, "unsupported": 1})
    assert believed([], PASSAGE, 0.5) == ([], Counter({"no pair": 1}))
    assert len(believed(pairs, PASSAGE, 0.0)[0]) == 2


def test_agreement_is_the_f1_of_words():
    assert agreement("In 1976.", "in 1976") == 1
    assert agreement("the year 1976", "1976") == 2 * 1 / 4
    assert agreement("", "x") == 0


def test_requests_name_the_tasks():
    messages = request(PASSAGE, "biology", 3, random.Random(0), chat=True)
    content = messages[0]["content"]
    assert content.count("Ask") == 3
    assert "3 entries" in content
    assert PASSAGE in content
    assert '[{"question": "...", "answer": "..."}, ...]' in content
    assert request(PASSAGE, "biology", 3, random.Random(0), chat=False).endswith("Question:")
    assert sum(
        request(PASSAGE, "b", 7, random.Random(1), chat=True)[0]["content"].count(f"\n{place}. ") for place in range(1, 9)
    ) == len(TASKS)
