import re

from metier.evaluate.general_probes import NUMBERS, general_probes


def test_items_are_as_many_as_asked_unique_and_the_same_for_a_seed():
    rows = list(general_probes(num_items=60).rows())
    assert {row["task"] for row in rows} == {"arithmetic in words", "grammar", "copying", "simple instructions"}
    for task in {row["task"] for row in rows}:
        part = [row for row in rows if row["task"] == task]
        assert len(part) == 60
        assert len({(row["prompt"], tuple(row["options"]), row["answer"]) for row in part}) == 60
    assert rows == list(general_probes(num_items=60).rows())
    assert rows != list(general_probes(num_items=60, seed=1).rows())


def test_sums_and_counts_are_right():
    checked = 0
    for row in general_probes(num_items=100).rows():
        if row["task"] != "arithmetic in words":
            continue
        right = row["options"][row["gold"]]
        last = row["prompt"].splitlines()[-1]
        if match := re.fullmatch(r"(\w+) plus (\w+) is", last):
            assert NUMBERS.index(match[1]) + NUMBERS.index(match[2]) == NUMBERS.index(right)
        else:
            counted = [NUMBERS.index(word) for word in last.partition(": ")[2].strip(",").split(", ")]
            assert NUMBERS.index(right) - counted[-1] == counted[1] - counted[0]
        assert row["options"].count(right) == 1
        checked += 1
    assert checked == 100


def test_a_copied_list_equals_the_first_and_the_others_do_not():
    for row in general_probes(num_items=50).rows():
        if row["task"] == "copying":
            first = re.search(r"First list: (.*)\.", row["prompt"])[1]
            assert [option == first for option in row["options"]].index(True) == row["gold"]
            assert row["options"].count(first) == 1
