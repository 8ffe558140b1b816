"""What can be asked of a document: names, titles, passages; and what may not stand beside each other."""

import pytest

from metier.evaluate.facts import Fact, confusable, continued, described, titled


def row(**columns):
    return {"id": "d", "text": "", "source": "s"} | columns


def documented(name, summary, **columns):
    return described(row(name=name, summary=summary, **columns))


def test_a_name_is_asked_in_full_where_the_id_holds_it():
    fact = documented(
        "dumps", "Serialize an object\n to a string.", id="json.dumps", source="json", module="json", kind="function"
    )
    assert (fact.name, fact.text) == ("json.dumps", "Serialize an object to a string.")
    assert fact.groups == ("json function", "json", "json")
    assert documented("Rebate", "What is paid back in spring.", id="glossary#7").name == "Rebate"


def test_a_module_is_asked_among_those_of_its_package():
    fact = documented(
        "tasks",
        "Coroutines, and what schedules them.",
        id="asyncio.tasks",
        source="asyncio",
        module="asyncio.tasks",
        kind="module",
    )
    assert fact.groups[1] == "asyncio"


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("copy", "Make a copy of the argument."),
        ("tools.open", "Opens what it is given."),
        ("Tax year", "The tax year is what counts."),
        ("copy", ""),
        ("", "What has no name is not asked for."),
        ("copy", "Too short."),
        ("copy", "x" * 301),
        ("copy", None),
    ],
)
def test_what_gives_its_name_away_or_does_not_fit_is_no_fact(name, summary):
    assert documented(name, summary) is None


@pytest.mark.parametrize(
    ("document", "title", "beginning"),
    [
        ({"text": "# Tax return\n\nEverybody fills one in. Then it is sent."}, "Tax return", "Everybody fills one in."),
        ({"text": "Tax return\n==========\nEverybody fills one in.\n"}, "Tax return", "Everybody fills one in."),
        ({"text": "Tax return\n\nPart 1\n\nEverybody fills\none in."}, "Tax return", "Everybody fills one in."),
        ({"text": "Everybody fills one in.", "title": "Tax  return"}, "Tax return", "Everybody fills one in."),
        ({"text": "Everybody fills one in.", "path": "docs/tax-return_old.txt"}, "tax return old", "Everybody fills one in."),
    ],
)
def test_titles_are_found_where_they_stand(document, title, beginning):
    fact = titled(row(**document))
    assert (fact.name, fact.text) == (title, beginning)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Only a title",
        "A line of prose that goes\non in the next one. And ends.",  # no blank line below: not a title
        "It began with a sentence.\n\nAnd went on with another one.",
        "# Cars\n\nCars need fuel and tyres.",  # gives the title away
        "Part 1\n\nno sentence at all",
    ],
)
def test_what_has_no_title_or_no_sentence_is_no_fact(text):
    assert titled(row(text=text, path="docs/0001.txt")) is None


def test_passages_go_on_with_their_own_next_sentence_and_never_overlap():
    sentences = [f"Sentence number {number} of this text." for number in range(9)]
    facts = sorted(continued(row(text="  ".join(sentences)), most=40, seed=0), key=lambda fact: fact.name)
    assert [(fact.name, fact.text) for fact in facts] == [
        (f"{sentences[start]} {sentences[start + 1]}", sentences[start + 2]) for start in (0, 3, 6)
    ]
    assert sorted(fact.place for fact in facts) == [0, 1, 2]


def test_a_language_without_spaces_has_sentences_too():
    sentences = [f"这是第{number}个句子，它讲的是税务申报的规则。" for number in "一二三"]
    (fact,) = continued(row(text="".join(sentences)), most=40, seed=0)
    assert fact.text == sentences[2]


def test_no_more_passages_are_drawn_than_wanted():
    text = " ".join(f"Sentence number {number} of a very long text." for number in range(1000))
    assert len(list(continued(row(text=text), most=40, seed=0))) == 40


def test_facts_that_would_both_be_right_are_confusable():
    def fact(name, text):
        return Fact("d", name, text, ("g",))

    assert confusable(fact("a", "Return the absolute value."), fact("b", "Return the absolute value of x."))
    assert confusable(fact("Open", "Open a file for reading."), fact("open", "Start a browser with a page."))
    assert not confusable(
        fact("json.dump", "Write an object to a file."), fact("json.dumps", "Return a string made of an object.")
    )
