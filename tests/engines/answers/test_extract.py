"""Every rule on replies written by hand, with the answers that the paper's rules give and those of the mended ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.answers.extract import Form, extract

NUMBER, YES_NO, STRING = Form("number"), Form("yes/no"), Form("string")
LETTER, FEW = Form("letter", "ABCDE"), Form("letter", "ABC")


@pytest.mark.parametrize(
    ("completion", "form", "paper", "strict"),
    [
        (" 64535.", NUMBER, "64535", "64535"),
        ("\n\n64,057", NUMBER, "64057", "64057"),
        (": 0.7 light-years", NUMBER, "0.7", "0.7"),
        (" $3.50 each", NUMBER, "3.50", "3.50"),
        (" between 3 and 5", NUMBER, "3", "3"),
        (" -4 degrees", NUMBER, "-4", "-4"),
        (" 12-4", NUMBER, "12", "12"),
        (" pages 12 -4", NUMBER, "12", "12"),
        (" a total - 7", NUMBER, "7", "7"),
        (" total-7", NUMBER, "-7", "7"),
        (" 9/10.", NUMBER, "9", "9/10"),
        (" .5", NUMBER, "5", ".5"),
        (" 30%.", NUMBER, "30", "30"),
        (" 1, 2", NUMBER, "1", "1"),
        (" not known", NUMBER, "", ""),
        (" D. k = 92", LETTER, "D", "D"),
        (" (C)", LETTER, "C", "C"),
        (" A total of five is C", LETTER, "A", "C"),
        (" B or D: D", LETTER, "B", "D"),
        (" Bread", LETTER, "B", ""),
        (" E", FEW, "", ""),
        (" Adam's answer is (B)", LETTER, "A", "B"),
        (" none", LETTER, "", ""),
        (" Yes.", YES_NO, "yes", "yes"),
        (' "No", the coin', YES_NO, "no", "no"),
        (" not known", YES_NO, "", ""),
        (" yesterday: NO", YES_NO, "no", "no"),
        (" no/yes", YES_NO, "", ""),
        (' "fnenl".', STRING, "fnenl", "fnenl"),
        (" f n\ne'l", STRING, "fnel", "fnel"),
        ("", STRING, "", ""),
        ("", NUMBER, "", ""),
    ],
)
def test_each_rule(completion, form, paper, strict):
    assert (extract(completion, form), extract(completion, form, strict=True)) == (paper, strict)


def test_a_phrase_that_introduces_answers_is_looked_for_first():
    phrase = "The answer is"
    assert extract("2 and 3 make 5. The answer is 5. Q: 7? The answer is 8. 9", NUMBER, after=phrase) == "8"
    assert extract("2 and 3 make 5", NUMBER, after=phrase) == "5"
    assert extract("2 and 3 make 5", NUMBER) == "2"


@pytest.mark.parametrize("form", [NUMBER, YES_NO, STRING, LETTER])
@given(text=st.text())
def test_an_answer_has_the_form_it_should_have(form, text):
    answer = extract(text, form)
    if form.options and answer:
        assert answer in [option.lower() if form is YES_NO else option for option in form.options]
    if form is NUMBER and answer:
        assert float(answer) is not None


def test_letters_go_with_letter_answers_only():
    with pytest.raises(ValueError, match="letters only"):
        Form("number", "AB")
    with pytest.raises(ValueError, match="letters only"):
        Form("letter")
    with pytest.raises(ValueError, match="capitals"):
        Form("letter", "ab")
    assert (LETTER.options, YES_NO.options, NUMBER.options) == (list("ABCDE"), ["Yes", "No"], [])
