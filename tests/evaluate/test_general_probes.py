import re
from collections import Counter

import pytest

from metier.evaluate.general_probes import NUMBERS, general_probes

TASKS = ["arithmetic in words", "grammar", "copying", "simple instructions"]


def probe(task, **settings):
    return [row for row in general_probes(**settings).rows() if row["task"] == task]


def test_items_are_as_many_as_asked_unique_and_the_same_for_a_seed():
    rows = list(general_probes().rows())
    assert Counter(row["task"] for row in rows) == dict.fromkeys(TASKS, 600) | {"simple instructions": 400}
    assert {row["role"] for row in rows} == {"general"}
    for task in TASKS:
        part = [(row["prompt"], tuple(sorted(row["options"])), row["answer"]) for row in rows if row["task"] == task]
        assert len(set(part)) == len(part)
    assert rows == list(general_probes().rows())
    assert rows != list(general_probes(seed=1).rows())


def test_a_probe_does_not_change_with_the_number_of_items():
    few, many = ([row["prompt"] for row in probe("copying", num_items=number)] for number in (10, 30))
    assert many[:10] == few
    with pytest.raises(ValueError, match="num_items=0"):
        general_probes(num_items=0)


def test_right_answers_stand_in_every_place():
    for task, options in (("arithmetic in words", 4), ("grammar", 2), ("copying", 4)):
        places = Counter(row["gold"] for row in probe(task))
        assert sorted(places) == list(range(options))
        assert all(abs(count / 600 - 1 / options) < 0.06 for count in places.values())


def test_sums_and_counts_are_right():
    rows = probe("arithmetic in words", num_items=200)
    for row in rows:
        right = row["options"][row["gold"]]
        last = row["prompt"].splitlines()[-1]
        if match := re.fullmatch(r"(\w+) plus (\w+) is", last):
            assert NUMBERS.index(match[1]) + NUMBERS.index(match[2]) == NUMBERS.index(right)
        else:
            counted = [NUMBERS.index(word) for word in last.partition(": ")[2].strip(",").split(", ")]
            assert NUMBERS.index(right) - counted[-1] == counted[1] - counted[0]
        assert len(set(row["options"])) == 4
    for row in rows:
        for a, b, c in re.findall(r"(\w+) plus (\w+) is (\w+)\.", row["prompt"]):
            assert NUMBERS.index(a) + NUMBERS.index(b) == NUMBERS.index(c)


def test_a_copied_list_goes_on_as_the_first_did():
    for row in probe("copying", num_items=200):
        first, begun = row["prompt"].split(".\n")
        words, again = first.split(", "), begun.rstrip(",").split(", ")
        assert words[: len(again)] == again
        assert row["options"][row["gold"]] == words[len(again)]
        assert set(row["options"]) < set(words) and len(set(row["options"])) == 4


def plural(noun):
    return noun.endswith("s")


GOES_WITH = {"is": False, "was": False, "has": False, "are": True, "were": True, "have": True}


def test_sentences_are_right_by_an_independent_grammar():
    """The rule that each pair is about, written down again from the English grammar; the pair differs in one word."""
    told = Counter()
    for row in probe("grammar"):
        right, wrong = row["options"][row["gold"]].rstrip(".").split(), row["options"][1 - row["gold"]].rstrip(".").split()
        (place,) = [number for number, (a, b) in enumerate(zip(right, wrong, strict=True)) if a != b]
        a, b, before, subject = right[place], wrong[place], right[place - 1], right[1]
        if a == "never":
            rule, held = "polarity", b in ("often", "always", "sometimes") and "any" in right
        elif a in GOES_WITH:
            rule, held = "across", GOES_WITH[a] is plural(subject) and GOES_WITH[b] is not plural(subject)
        elif "sel" in a:
            rule, held = "reflexive", (a == "themselves") is plural(subject) and (b == "themselves") is not plural(subject)
        elif before in ("this", "that", "these", "those"):
            rule, held = "determiner", (before in ("these", "those")) is plural(a) and plural(a) is not plural(b)
        elif before in ("had", "will"):
            participles = {"written", "taken", "broken", "eaten", "drawn", "chosen"}
            rule, held = "participle", (before == "had") is (a in participles) and (a in participles) is not (b in participles)
        else:
            rule, held = "agreement", a.endswith("s") is not plural(subject) and {a, b} == {a.rstrip("s"), f"{a.rstrip('s')}s"}
        assert held, row
        told[rule] += 1
    assert len(told) == 6
    assert min(told.values()) > 60


def test_instructions_say_what_their_answers_do():
    for row in probe("simple instructions", num_items=200):
        asked = row["prompt"].splitlines()[-1]
        twice, then = re.fullmatch(r"Say (\w+) twice:", asked), re.fullmatch(r"Say (\w+) then (\w+):", asked)
        assert row["answer"] == (f"{twice[1]} {twice[1]}" if twice else f"{then[1]} {then[2]}")
        assert row["kind"] == "generate"
