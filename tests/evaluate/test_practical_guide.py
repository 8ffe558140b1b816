"""The flow against an independent reading, costs by hand, and the check on rows whose answer is known."""

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Examples
from metier.evaluate.practical_guide import practical_guide
from metier.evaluate.practical_guide.candidates import Labelled
from metier.evaluate.practical_guide.check import UnusableRowsError, split
from metier.evaluate.practical_guide.costs import Costs
from metier.evaluate.practical_guide.flow import FLOW, Node, best_question, path, shares
from metier.evaluate.practical_guide.results import TaskFacts
from metier.models.language_model import Score

AG_NEWS = Path(__file__).parents[2].parent / "shared" / "data" / "text" / "ag_news_test.jsonl"
NAMES = [node.fact for node in FLOW]
NONE = dict.fromkeys(NAMES, False)


def reference(facts):
    """The figure, read anew."""
    if facts["mimics_human"] or facts["needs_reasoning"] or facts["several_tasks"]:
        return "prompt"
    if facts["far_from_language"]:
        return "tune"
    if facts["few_labels"] or facts["shifted"] or facts["generates"]:
        return "prompt"
    if not facts["knowledge_intensive"] or facts["context_suffices"]:
        return "tune"
    return "prompt" if facts["real_knowledge"] else "test both"


ANSWERS = st.fixed_dictionaries({name: st.sampled_from([True, False, None]) for name in NAMES})


@given(ANSWERS)
def test_leaves_and_their_shares_are_those_of_all_assignments(facts):
    unknown = [name for name in NAMES if facts[name] is None]
    counts = {}
    for values in itertools.product([True, False], repeat=len(unknown)):
        leaf = reference({**facts, **dict(zip(unknown, values, strict=True))})
        counts[leaf] = counts.get(leaf, 0) + 1
    assert shares(facts) == {leaf: count / 2 ** len(unknown) for leaf, count in counts.items()}


@given(ANSWERS)
def test_the_question_asked_is_unknown_and_none_leaves_fewer_leaves(facts):
    node = best_question(facts)
    if node is None:
        assert len(shares(facts)) == 1
        return
    assert facts[node.fact] is None

    def left(name):
        return sum(len(shares({**facts, name: answer})) for answer in (True, False))

    assert left(node.fact) == min(left(name) for name in NAMES if facts[name] is None)


@pytest.mark.parametrize(
    ("known", "leaf", "passed"),
    [
        ({"mimics_human": True}, "prompt", 1),  # a chatbot
        ({**NONE, "needs_reasoning": True}, "prompt", 2),
        ({**NONE, "far_from_language": True}, "tune", 4),  # regression
        (NONE, "tune", 8),
        ({**NONE, "knowledge_intensive": True, "context_suffices": True}, "tune", 9),
        ({**NONE, "knowledge_intensive": True}, "test both", 10),
    ],
)
def test_the_figures_examples_land_on_their_leaves(known, leaf, passed):
    advice = practical_guide(facts=TaskFacts(**known))
    assert (advice.recommendation, advice.confidence, advice.question) == (leaf, 1.0, None)
    assert len(advice.path) == passed


def test_unknown_facts_give_every_leaf_and_a_question_unless_taken_for_false():
    advice = practical_guide(facts=TaskFacts())
    assert advice.recommendation is None
    assert set(advice.leaves) == {"prompt", "tune", "test both"}
    assert advice.question in {node.question for node in FLOW}
    assert advice.path == []
    assumed = practical_guide(facts=TaskFacts(), unknown="assume false")
    assert (assumed.recommendation, len(assumed.path)) == ("tune", 8)


def test_numbers_settle_whether_labels_are_few_and_contradictions_are_named():
    known = {name: False for name in NAMES if name != "few_labels"}
    assert practical_guide(facts=TaskFacts(**known, num_labelled=199, num_classes=2)).recommendation == "prompt"
    assert practical_guide(facts=TaskFacts(**known, num_labelled=200, num_classes=2)).recommendation == "tune"
    assert practical_guide(facts=TaskFacts(**known, num_labelled=200, num_classes=2), few_labels=101).recommendation == "prompt"
    with pytest.raises(ValueError, match=r"few_labels=True contradicts num_labelled=50000"):
        practical_guide(facts=TaskFacts(few_labels=True, num_labelled=50_000, num_classes=2))
    with pytest.raises(ValueError, match="num_labelled=-1"):
        practical_guide(facts=TaskFacts(num_labelled=-1))


COSTS = Costs(
    input_tokens=900, output_tokens=100, input_price=2.0, output_price=10.0, tuned_request=0.0008, requests=10_000, months=12,
    labels=2_000, label_price=0.2, training_hours=10, hour_price=3.0, upkeep=50.0,
)  # fmt: skip


def test_break_even_by_hand():
    # 900 * 2 + 100 * 10 = 2,800 per million requests' worth: 0.0028 a request; fixed 400 + 30 + 600 = 1,030; 1,030 / 0.002
    assert COSTS.prompted_request == pytest.approx(0.0028)
    assert COSTS.fixed == pytest.approx(1_030)
    assert COSTS.break_even == pytest.approx(515_000)
    assert COSTS.volume == 120_000
    with pytest.raises(ValueError, match="output_price=-1"):
        Costs(1, 1, 1, -1, 1, 1)


def test_constraints_overrule_the_flow_and_say_so():
    cheap = practical_guide(facts=TaskFacts(**NONE), costs=COSTS)
    assert (cheap.recommendation, cheap.break_even) == ("prompt", pytest.approx(515_000))
    assert "120,000 requests do not pay for tuning, which takes 515,000" in cheap.overruled[0]
    kept = practical_guide(facts=TaskFacts(mimics_human=True, data_may_leave=False, local_gpu=False), costs=COSTS)
    assert kept.recommendation == "tune" and "may not leave" in kept.overruled[0]
    fast = practical_guide(facts=TaskFacts(mimics_human=True, latency_ms=50, requests_per_month=200_000))
    assert fast.recommendation == "tune" and "50 ms" in fast.overruled[0]
    assert practical_guide(facts=TaskFacts(mimics_human=True, latency_ms=100, requests_per_month=200_000)).overruled == []
    dear = Costs(input_tokens=1, output_tokens=0, input_price=1, output_price=1, tuned_request=1, requests=1)
    never = practical_guide(facts=TaskFacts(**NONE), costs=dear)
    assert never.break_even is None and "never pays back" in never.notes[0]
    person = practical_guide(facts=TaskFacts(safety_critical=True, biased_labels=True))
    assert "keep a person" in person.notes[0]
    with pytest.raises(ValueError, match="contradict each other"):
        practical_guide(facts=TaskFacts(requests_per_month=5), costs=COSTS)


def test_the_third_road_is_metiers_own_and_off_unless_asked_for():
    busy = Costs(900, 100, 2.0, 10.0, 0.0008, requests=100_000, labels=100, label_price=1)
    facts = TaskFacts(**{**NONE, "generates": True, "few_labels": None, "context_suffices": None}, num_labelled=5_000)
    known = TaskFacts(**{**NONE, "generates": True}, num_labelled=5_000, num_classes=None)
    assert practical_guide(facts=known, costs=busy).recommendation == "prompt"
    assert practical_guide(facts=known, costs=busy, specialise=True).recommendation == "specialise"
    assert practical_guide(facts=facts, costs=busy, specialise=True).recommendation == "specialise"
    assert practical_guide(facts=known, costs=COSTS, specialise=True).recommendation == "prompt"


def test_a_flow_of_ones_own_and_mistakes_in_it():
    own = [Node("shifted", "does it move?", "test both", "generates"), Node("generates", "text?", "prompt", "tune")]
    advice = practical_guide(facts=TaskFacts(shifted=False, generates=True), flow=own)
    assert advice.recommendation == "prompt"
    assert advice.would_change == {"shifted": ["test both"], "generates": ["tune"]}
    assert [test.question for test in path({"shifted": False, "generates": None}, own)] == ["does it move?"]
    for flow, message in [
        ([], "no question"),
        ([own[0]], "'generates' is no later question"),
        ([own[1], own[1]], "twice"),
        ([Node("colour", "?", "tune", "prompt")], "no facts of a task"),
        ([Node("num_labelled", "?", "tune", "prompt")], "no questions of yes and no"),
    ]:
        with pytest.raises(ValueError, match=message):
            practical_guide(facts=TaskFacts(num_labelled=9), flow=flow)


TOPICS = {"sea": ["wave", "harbour", "anchor", "sail", "tide"], "kitchen": ["pan", "oven", "flour", "spoon", "salt"]}


def rows(count, seed=0, noise=0.0, source="one"):
    """Sentences that one word in six tells the label of."""
    generator = random.Random(seed)
    found = []
    for number in range(count):
        label = generator.choice(list(TOPICS))
        said = label if generator.random() >= noise else generator.choice(list(TOPICS))
        topic = generator.choice(TOPICS[said])
        text = f"Note {number} {generator.choice(['about', 'on'])} the {topic} of {generator.randrange(10**6)}"
        found.append({"prompt": text, "completion": label, "source": source})
    return found


class Known:
    """A model whose log-probabilities are known: the label of `label_of(text)` is likelier; without it all are alike, and a tie
    is wrong."""

    name = "known"

    def __init__(self, label_of=None):
        self.label_of = label_of

    def score(self, requests):
        found = []
        for context, continuation in requests:
            text = context.rpartition("Text: ")[2].removesuffix("\nLabel:")
            size = len(continuation)
            right = self.label_of is not None and self.label_of(text) == continuation.strip()
            found.append(Score(-size * (0.1 if right else 1.0), 1, size))
        return found


def wrong_in_four_of_ten(text):
    label = next(name for name, seen in TOPICS.items() if any(f"the {word} of" in text for word in seen))
    return label if int(text.split()[1]) % 10 >= 4 else next(name for name in TOPICS if name != label)


def test_a_tuned_model_that_learns_passes_a_weak_prompt_and_the_advice_agrees():
    advice = practical_guide(Examples.from_rows(rows(240)), Known(wrong_in_four_of_ten), facts=TaskFacts(**NONE))
    check = advice.check
    assert (check.num_train + check.num_test, check.num_duplicates, check.labels) == (240, 0, ["kitchen", "sea"])
    assert [point.labels for point in check.tuned] == [8, 16, 32, 64, check.num_train]
    assert check.prompted.keys() == {0, 4}
    assert check.prompted[0].value == pytest.approx(0.6, abs=0.1)
    assert check.tuned[-1].accuracy > 0.95
    assert check.winner == "tune"
    assert check.crossover in (8, 16, 32, 64)
    assert check.tuned_less_prompted.low > 0.2
    assert check.agreement == {"recommendation": True, "few_labels": True, "knowledge_intensive": True}
    assert not check.spurious


def parity(text):
    return "even" if int(text.split()[1]) % 2 == 0 else "odd"


def test_where_words_tell_nothing_a_prompt_that_knows_wins_and_one_that_does_not_leaves_neither():
    numbers = random.Random(0).sample(range(10**6), 120)
    given_rows = Examples.from_rows({"prompt": f"Note {n} of many", "completion": parity(f"Note {n}")} for n in numbers)
    strong = practical_guide(given_rows, Known(parity), facts=TaskFacts(**NONE), shots=(0,)).check
    assert (strong.prompted[0].value, strong.winner, strong.crossover, strong.predicted) == (1.0, "prompt", None, None)
    assert strong.agreement == {"recommendation": False, "few_labels": False, "knowledge_intensive": False}
    few = practical_guide(given_rows, Known(parity), facts=TaskFacts(**{**NONE, "few_labels": True}), shots=(0,)).check
    assert few.agreement == {"recommendation": True, "few_labels": True, "knowledge_intensive": False}
    blind = practical_guide(given_rows, Known(), facts=TaskFacts(**NONE), shots=(0,)).check
    assert (blind.winner, blind.agreement["recommendation"]) == ("neither", False)


def test_learning_from_one_source_and_use_on_another_drops():
    near = rows(160, source="here")
    far = [
        {**row, "prompt": " ".join(word[::-1] for word in row["prompt"].split()), "source": "there"} for row in rows(160, seed=5)
    ]
    facts = TaskFacts(**{**NONE, "shifted": True})
    check = practical_guide(Examples.from_rows(near + far), facts=facts, shift="source").check
    assert {check.shift.source} < {"here", "there"}
    assert check.shift.num_inside + check.shift.num_outside == check.num_test
    assert check.shift.tuned_drop.low > 0.2
    assert check.shift.prompted_drop is None
    assert check.agreement["shifted"] is True
    few = practical_guide(Examples.from_rows(near + far[:10]), facts=facts, shift="source").check
    assert few.shift is None and "too few of one" in few.notes[-1]


def test_a_label_that_its_length_gives_away_is_called_spurious():
    told = [
        {
            "prompt": f"{'long ' * (9 if number % 2 else 1)}{random.Random(number).randrange(10**9)}",
            "completion": "ab"[number % 2],
        }
        for number in range(100)
    ]
    check = practical_guide(Examples.from_rows(told), facts=TaskFacts()).check
    assert (check.majority, check.shortcut, check.spurious) == (0.5, 1.0, True)


@pytest.mark.parametrize(
    ("given_rows", "settings", "message"),
    [
        (rows(40), {}, "40 different texts are fewer than the 60"),
        ([{"prompt": "the same", "completion": "a"}] * 100, {}, "1 different texts"),
        ([{"prompt": f"text {n}", "completion": "a"} for n in range(80)], {}, "all rows have the label 'a'"),
        ([{"prompt": f"text {n}", "completion": str(n / 7)} for n in range(80)], {}, "80 labels among 80 rows are no classes"),
        (rows(80), {"shift": "year"}, "no column 'year'"),
    ],
)
def test_rows_that_check_nothing_leave_the_advice_unchecked_and_say_why(given_rows, settings, message):
    advice = practical_guide(Examples.from_rows(given_rows), facts=TaskFacts(**NONE), **settings)
    assert (advice.recommendation, advice.check) == ("tune", None)
    assert message in advice.check_refused


@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=4), seed=st.integers(0, 5))
def test_the_split_halves_each_label_and_loses_nothing(counts, seed):
    given_rows = [Labelled(f"{label} {n}", str(label), None) for label, count in enumerate(counts) for n in range(count)]
    try:
        train, test = split(given_rows, seed)
    except UnusableRowsError:
        assert len(given_rows) < 60 or sum(count // 2 for count in counts) < 30 or sum(count > 1 for count in counts) < 2
        return
    assert sorted(row.text for row in train + test) == sorted(row.text for row in given_rows)
    for label, count in enumerate(counts):
        assert sum(row.label == str(label) for row in test) == count // 2


@pytest.mark.skipif(not AG_NEWS.is_file(), reason="AG News is not beside this checkout")
def test_on_real_news_words_beat_a_model_that_knows_nothing():
    lines = [json.loads(line) for line in AG_NEWS.read_text().splitlines()[:600]]
    names = ["World", "Sports", "Business", "Technology"]
    given_rows = [{"prompt": f"{line['title']} {line['text']}", "completion": names[line["label"]]} for line in lines]
    facts = TaskFacts(**{**NONE, "few_labels": None}, num_labelled=600, num_classes=4)
    check = practical_guide(Examples.from_rows(given_rows), Known(), facts=facts, shots=(0,)).check
    assert check.winner == "tune"
    assert check.tuned[-1].accuracy > 0.7  # 300 labels; bags of words reach 0.9 with 120,000
    assert np.mean([point.accuracy for point in check.tuned[:2]]) < check.tuned[-1].accuracy
