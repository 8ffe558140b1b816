"""curate.repeated_lines: takes out what several documents share, and nothing else."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.artifacts import Corpus, Funnel
from metier.curate.repeated_lines import repeated_lines

MENU, NOTICE = "Home | About | Our products | Contact us", "All rights reserved by the company, 2021."


def corpus(texts, **columns):
    rows = [{"id": f"d{number}", "text": text, "source": "s"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[index] for name, values in columns.items()} for index, row in enumerate(rows)])


def found(texts, **settings):
    return repeated_lines(corpus(texts), **settings).frame().to_pydict()


def body(number):
    return f"Page {number} tells at length of the thing that has the number {number}, of how it came to have it, and of no other."


def pages(count):
    return [f"{MENU}\n{body(number)}\n{NOTICE}" for number in range(count)]


def test_menus_and_notices_stay_in_the_first_document_or_in_none():
    result = found(pages(4))
    assert result["text"][0] == pages(1)[0]
    assert result["text"][1] == body(1)
    assert result["removed_lines"] == [[], *[[MENU, NOTICE]] * 3]
    assert result["removed_line_documents"] == [[], *[[4, 4]] * 3]
    assert result["lost_share"][1] == pytest.approx((len(MENU) + len(NOTICE)) / len(pages(2)[1]))
    assert found(pages(4), keep="none")["text"][0] == body(0)


def test_a_line_must_stand_in_enough_documents_and_have_enough_words():
    assert found(pages(4), min_documents=5)["text"] == pages(4)
    assert found(pages(4), min_words=8)["text"] == pages(4)
    assert found(pages(4), min_words=7)["removed_lines"][1] == [NOTICE]
    twice = "a line of five words\nx\na line of five words"
    assert found([twice, "other"])["text"] == [twice, "other"], "in one document twice is no repetition"


def test_a_document_that_loses_too_much_keeps_its_text_and_says_why(tmp_path):
    texts = [*pages(2), f"{MENU}\n{NOTICE}\nshort"]
    result = repeated_lines(corpus(texts), max_lost=0.8)
    rows = result.frame().to_pydict()
    assert rows["drop_reason"] == [None, None, "repeated lines"]
    assert rows["text"][2] == texts[2] and rows["removed_lines"][2] == [MENU, NOTICE]
    assert result.save(tmp_path).funnel() == Funnel(3, 2, {"repeated lines": 1})
    assert found([MENU, MENU], max_lost=1.0)["drop_reason"] == [None, "repeated lines"], "nothing would be left"


def test_case_and_punctuation_do_not_count_and_numbers_do():
    lines = ["the total of the year was 12", "The total, of the YEAR, was 12!", "The total of the year was 13"]
    result = found([f"{line}\n{body(number)}" for number, line in enumerate(lines)])
    assert result["removed_lines"] == [[], [lines[1]], []]


def test_code_in_fences_stays():
    code = "```python\nfor one in range of the numbers: print(one)\n```"
    texts = [f"{word} explains the code below in its own way and words\n\n{code}" for word in ("Ada", "Bob", "Cy")]
    assert found(texts, min_words=1)["text"] == texts
    assert found(texts, min_words=1, unit="paragraph")["text"] == texts


def test_paragraphs_are_compared_as_a_whole_and_their_blank_lines_go_with_them():
    shared = "A paragraph of two lines,\nthe second is this one."
    own = [f"Document {number} has a paragraph of its own that is long enough to stay." for number in range(3)]
    texts = [f"{own[number]}\n\n{shared}\n\nthe second is this one.\n" for number in range(3)]
    result = found(texts, unit="paragraph", max_lost=0.9)
    assert result["text"][1] == f"{own[1]}\n"
    assert result["removed_lines"][1] == [shared, "the second is this one.\n"]


def test_blank_lines_do_not_pile_up():
    texts = [f"own words of document number {number}\n\n{MENU}\n\nand more of them, {number}" for number in range(2)]
    assert found(texts)["text"][1] == "own words of document number 1\n\nand more of them, 1"


def test_marked_rows_and_unreadable_ones_stay_and_count_for_nothing():
    rows = corpus(pages(3), drop_reason=["rule", None, None], error=[None, None, "binary: x"])
    result = repeated_lines(rows).frame().to_pydict()
    assert result["drop_reason"] == ["rule", None, None] and result["text"] == pages(3)
    assert repeated_lines(Corpus.from_rows([], ["id", "text", "source"])).frame().to_pylist() == []


LINES = st.sampled_from(["one two", "three four five", "", "one  TWO!", "six", "```", "  seven eight"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(LINES, max_size=6), min_size=1, max_size=6))
def test_agrees_with_counting(documents):
    """Ten-line reference, without fences: which lines go, by counting documents."""
    documents = [[line for line in lines if line != "```"] for lines in documents]
    words = [[" ".join(line.lower().replace("!", "").split()) for line in lines] for lines in documents]
    counts = Counter(line for lines in words for line in set(lines) if line)
    expected, seen = [], set()
    for lines, own in zip(documents, words):
        expected.append([line for line, key in zip(lines, own) if counts[key] > 1 and key in seen])
        seen.update(own)
    result = found(["\n".join(lines) for lines in documents], min_words=1)
    assert result["removed_lines"] == expected
    for lines, own, left, reason in zip(documents, expected, result["text"], result["drop_reason"]):
        if reason is None:  # what is left: the other lines in order
            assert [line for line in left.split("\n") if line.strip()] == [
                line for line in lines if line.strip() and line not in own
            ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"unit": "word"}, "unit='word'"),
        ({"keep": "last"}, "keep='last'"),
        ({"min_documents": 1}, "min_documents=1"),
        ({"min_words": 0}, "min_words=0"),
        ({"max_lost": 1.5}, "max_lost=1.5"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        repeated_lines(corpus(["x"]), **setting)
