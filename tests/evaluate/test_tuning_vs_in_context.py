"""The ways to answer, the prompts between them, the mixture and the correlations, against closed forms and scipy."""

import dataclasses
import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metier.artifacts import Examples, Model
from metier.evaluate.item import Item, items_table
from metier.evaluate.tuning_vs_in_context import prompts, question_of, tuning_vs_in_context
from metier.evaluate.tuning_vs_in_context.correlation import TaskPair, advise, correlate
from metier.evaluate.tuning_vs_in_context.mixture import mix, mixture_rates
from metier.models.tiny import make_tiny

WORDS = st.text(alphabet="abc ديé\n:.1", min_size=1).filter(lambda text: text.strip() and "Example" not in text)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), WORDS, WORDS)
def test_the_base_sees_the_written_examples_byte_for_byte_and_no_answer(examples, question, answer):
    written = f"{prompts.in_context_prompt(examples, question)} {answer}\n{prompts.END}"
    prompt = prompts.base_prompt(written)
    assert prompt == prompts.in_context_prompt(examples, question)
    assert written.startswith(prompt) and prompt.endswith(f"{question}\n{prompts.HEADER}")
    assert prompts.num_examples(prompt) == len(examples)
    assert prompts.tuned_answer(written) == answer.strip().partition("\n")[0].strip()


@pytest.mark.parametrize("written", ["", "Solution: 7", "Example 1:\nx\nAnswer 1: y\n\nz", "7"])
def test_without_examples_or_header_there_is_no_prompt(written):
    assert prompts.base_prompt(written) is None


@pytest.mark.parametrize(
    ("text", "line"), [(" 7 END", "7"), ("BEND\nEND", "BEND"), ("END", ""), ("\n\n a b \nc", "a b"), ("", "")]
)
def test_the_answer_is_the_first_line_without_the_end_mark(text, line):
    assert prompts.first_line(text) == line


def rows(task, size):
    return [{"id": f"{task}{n}", "task": task, "prompt": f"{task} {n}", "completion": f"answer {n % 7}"} for n in range(size)]


def test_own_examples_come_from_the_other_half_and_controls_do_what_they_say():
    given = Examples.from_rows(rows("one", 20) + rows("two", 21))
    truth = {row["prompt"]: row["completion"] for row in given.rows()}
    for control in ("none", "other_task", "corrupted", "unanswered"):
        made = list(prompts.sample_generation(given, num_inner=3, control=control).rows())
        assert len(made) == 10 + 11
        mains = {row["id"] for row in made}
        asked = {row["prompt"] for row in given.rows() if row["id"] in mains}
        for row in made:
            lines = row["completion"].split("\n")
            inner = [lines[place + 1] for place, line in enumerate(lines) if line.startswith("Example ")]
            answers = [line.partition(": ")[2] for line in lines if line.startswith("Answer ")]
            assert len(inner) == 3 and not asked & set(inner)
            assert {question.split()[0] == row["task"] for question in inner} == {control != "other_task"}
            assert len(answers) == (0 if control == "unanswered" else 3)
            assert {truth[question] == answer for question, answer in zip(inner, answers)} <= {control != "corrupted"}
            assert lines[-1] == "END" and prompts.tuned_answer(row["completion"]) == truth[lines[-3]]
    assert made == list(prompts.sample_generation(given, num_inner=3, control="unanswered").rows())


def test_training_rows_are_refused_where_they_would_mislead():
    with pytest.raises(ValueError, match="too few for 3"):
        prompts.sample_generation(Examples.from_rows(rows("one", 5)), num_inner=3)
    with pytest.raises(ValueError, match="marks the answer"):
        prompts.regular(Examples.from_rows([{"task": "t", "prompt": "Solution: what?", "completion": "x"}]))
    with pytest.raises(ValueError, match="has no completion"):
        prompts.regular(Examples.from_rows([{"task": "t", "prompt": "p", "completion": ""}]))
    same = Examples.from_rows([row | {"completion": "x"} for row in rows("one", 20)])
    with pytest.raises(ValueError, match="none can be made wrong"):
        prompts.sample_generation(same, control="corrupted")
    with pytest.raises(ValueError, match="no task beside"):
        prompts.sample_generation(same, control="other_task")
    with pytest.raises(ValueError, match="writes no examples"):
        prompts.sample_generation(same, num_inner=0)
    (row,) = prompts.regular(Examples.from_rows(rows("one", 1))).rows()
    assert (row["prompt"], row["completion"]) == (prompts.regular_prompt("one 0"), "Solution: answer 0")


@pytest.mark.parametrize(
    ("line", "whole", "held"),
    [
        ("New York City.", 1, 1),
        ("B", 1, None),
        ("2. New York City", 1, 1),
        ("(c)", 2, None),
        ("b) Paris", None, 2),  # letter and text disagree
        ("It is New York City, of course", None, 1),  # the longer of two options in it
        ("Which: New York, Paris?", None, 0),
        ("Rome", None, None),
        ("7", None, None),
    ],
)
def test_a_choice_is_the_whole_line_and_the_lax_reading_is_kept_apart(line, whole, held):
    options = ["New York", "New York City", "Paris"]
    assert (prompts.option_meant(line, options), prompts.option_held(line, options)) == (whole, held)


def test_an_option_that_is_a_digit_goes_before_its_number():
    assert prompts.option_meant("2", ["3", "4", "2"]) == 2
    assert prompts.option_held("Paris or Lyon4", ["Paris", "Lyon4"]) is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10_000), min_size=1), st.integers(1, 5000))
def test_rates_are_the_formula(sizes, cap):
    total = sum(min(size, cap) for size in sizes.values())
    assert mixture_rates(sizes, cap=cap) == pytest.approx(
        {name: min(size, cap) / total for name, size in sizes.items()}, abs=1e-12
    )
    assert sum(mixture_rates(sizes, cap=cap).values()) == pytest.approx(1, abs=1e-12)


def test_a_mixture_follows_its_rates_and_draws_no_row_twice():
    given = Examples.from_rows(rows("small", 300) + rows("large", 9000))
    drawn = mix(given, cap=600, size_limit=600, held_out=0.1)
    assert (len(drawn.train), len(drawn.held_out)) == (540, 60)
    both = [row for part in drawn for row in part.rows()]
    assert len({row["id"] for row in both}) == 600
    share = sum(row["task"] == "small" for row in both) / 600
    assert abs(share - 1 / 3) < 4 * math.sqrt(2 / 9 / 600)
    everything = mix(Examples.from_rows(rows("a", 5) + rows("b", 9)), held_out=0)
    assert (len(everything.train), len(everything.held_out)) == (14, 0)
    with pytest.raises(ValueError, match="'b' is empty"):
        mixture_rates({"a": 1, "b": 0})
    with pytest.raises(ValueError, match="no share"):
        mix(given, held_out=1)


def pairs(x, y, **more):
    return [TaskPair(f"t{n}", tuned=b, in_context=a, **more) for n, (a, b) in enumerate(zip(x, y))]


def test_coefficients_are_scipys_and_the_null_counts_all_orders_of_few_tasks():
    x, y = [0.1, 0.5, 0.3, 0.9, 0.3], [0.2, 0.4, 0.5, 0.8, 0.1]
    found = correlate(pairs(x, y))
    assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    orders = [stats.spearmanr(x, order).statistic for order in itertools.permutations(y)]
    assert found.spearman_p == pytest.approx(np.mean([abs(rho) >= abs(found.spearman) - 1e-9 for rho in orders]))
    assert found.verdict is None  # five tasks decide nothing


def test_drawn_orders_agree_with_the_theory_and_chance_is_taken_off():
    generator = random.Random(0)
    x = [generator.random() for _ in range(20)]
    y = [value + generator.gauss(0, 0.4) for value in x]
    found = correlate(pairs(x, y), permutations=10_000)
    assert found.pearson_p == pytest.approx(stats.pearsonr(x, y).pvalue, abs=0.01)
    assert found.verdict == ("converges" if found.spearman_above_chance_p < 0.05 else "not shown")
    # Both scores are nothing but chance of differing tasks: related raw, not above it.
    chances = [0.5, 0.25, 0.5, 0.2, 0.25, 0.5, 0.2, 0.33, 0.1]
    off = [0.01, -0.01, 0.02, 0.0, 0.015, -0.02, 0.01, -0.015, 0.005]
    other = [0.0, 0.01, -0.005, -0.02, 0.02, 0.0, 0.01, -0.01, 0.015]
    only = [TaskPair(f"t{n}", c + a, c + b, chance=c) for n, (c, a, b) in enumerate(zip(chances, off, other))]
    found = correlate(only)
    assert found.spearman > 0.8 and found.spearman_p < 0.05
    assert found.spearman_above_chance_p > 0.05 and found.verdict == "not shown"


def test_difficulty_explains_what_it_explains():
    generator = random.Random(1)
    hard = [generator.random() for _ in range(30)]
    made = [TaskPair(f"t{n}", h + generator.gauss(0, 0.1), h + generator.gauss(0, 0.1), difficulty=h) for n, h in enumerate(hard)]
    found = correlate(made)
    ranks = [stats.rankdata([getattr(pair, name) for pair in made]) for name in ("tuned", "in_context", "difficulty")]
    a, b, c = (np.corrcoef(ranks[i], ranks[j])[0, 1] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert found.partial_rho == pytest.approx((a - b * c) / math.sqrt((1 - b * b) * (1 - c * c)))
    assert found.spearman > 0.8 and abs(found.partial_rho) < 0.4


def test_a_family_counts_once():
    x, y = [0.1, 0.4, 0.6, 0.9], [0.2, 0.3, 0.9, 0.7]
    family = [TaskPair(f"copy{n}", 0.7, 0.9, cluster="f") for n in range(3)]
    alone = correlate(pairs(x, y))
    found = correlate([*pairs(x[:3], y[:3]), *family])
    assert (found.num_tasks, found.num_clusters) == (6, 4)
    assert (found.pearson, found.pearson_p) == pytest.approx((alone.pearson, alone.pearson_p))


def test_what_has_no_correlation_says_why():
    found = correlate(pairs([0.5] * 9, [0.1 * n for n in range(9)]))
    assert found.undefined.startswith("all in-context scores are 0.5") and found.pearson is None and found.verdict == "not shown"
    for wrong, says in (
        (pairs([0.1, 0.2], [0.1, 0.2]), "2 families"),
        (pairs([0.1, 0.2, math.nan], [1, 2, 3]), "no number"),
        ([TaskPair("a", 0, 0)] * 3, "twice"),
    ):
        with pytest.raises(ValueError, match=says):
            correlate(wrong)
    with pytest.raises(ValueError, match="permutations=5"):
        correlate(pairs([0.1, 0.2, 0.3], [1, 2, 3]), permutations=5)


def test_the_task_furthest_from_the_line_comes_first():
    x = [0.1, 0.2, 0.3, 0.4, 0.5]
    name, distance = correlate(pairs(x, [0.1, 0.2, 0.9, 0.4, 0.5])).furthest[0]
    line = stats.linregress(x, [0.1, 0.2, 0.9, 0.4, 0.5])
    assert (name, distance) == ("t2", pytest.approx(0.9 - line.intercept - line.slope * 0.3))


def test_advice_is_the_textbooks_prediction_limit_and_leaves_one_out():
    x, y = np.array([0.1, 0.3, 0.4, 0.7, 0.9]), np.array([0.15, 0.28, 0.45, 0.66, 0.95])
    (found,) = advise(pairs(x, y), [TaskPair("new", math.nan, 0.5)])
    left_out = []
    for n in range(5):
        rest = np.delete(np.arange(5), n)
        slope, intercept = np.polyfit(x[rest], y[rest], 1)
        left_out.append(y[n] - intercept - slope * x[n])
    assert found.loo_error == pytest.approx(math.sqrt(np.mean(np.square(left_out))))
    line = stats.linregress(x, y)
    sigma = math.sqrt(sum((y - line.intercept - line.slope * x) ** 2) / 3)
    half = stats.t.ppf(0.9, 3) * sigma * math.sqrt(1 + 1 / 5 + (0.5 - x.mean()) ** 2 / sum((x - x.mean()) ** 2))
    assert found.upper == pytest.approx(line.intercept + line.slope * 0.5 + half)
    assert found.advice == "tuning may help"
    (high,) = advise(pairs(x, y), [TaskPair("new", 0, 0.5)], margin=0.5)
    assert high.advice == "tuning unlikely to help beyond examples"
    with pytest.raises(ValueError, match="3 measured tasks"):
        advise(pairs(x[:3], y[:3]), [])
    with pytest.raises(ValueError, match="all alike"):
        advise(pairs([0.5] * 5, y), [])
    with pytest.raises(ValueError, match="too coarse"):
        advise(pairs(x, y), [], num_rows=99)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("models") / "base", hidden_size=64, window=256)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path_factory.mktemp("cache")))


ITEMS = [
    *(
        Item(f"{task}{n}", task, "general", "generate", f"{task} {n + 50}", answer="x")
        for task in ("one", "two")
        for n in range(3)
    ),
    *(Item(f"c{n}", "choose", "general", "choice", f"choose {n + 50}", ["a", "bb", "c", "d"], 1) for n in range(3)),
]
POOL = Examples.from_rows(rows("one", 9) + rows("two", 9) + rows("choose", 9))
QUICK = {"max_new_tokens": 6, "max_sample_tokens": 12, "permutations": 100, "dtype": "float32"}


def test_every_item_is_answered_in_every_way_and_failures_are_counted(base):
    found = tuning_vs_in_context(base, base, items_table(ITEMS), POOL, base, unrelated=base, **QUICK)
    scores = list(found.scores.rows())
    ways = ["regular", "base_gold", "sample_generation", "base_sample_generation", "unrelated"]
    assert [row["model"] for row in scores[::9]] == ways and len(scores) == 45
    gold = [row for row in scores if row["model"] == "base_gold"]
    assert [row["prompt"].count("Answer ") for row in gold] == [2] * 9
    assert all(row["prompt"].endswith(f"{question_of(dataclasses.asdict(item))}\nSolution:") for row, item in zip(gold, ITEMS))
    # A random model writes no header: all wrong, all counted, nothing to show the base.
    assert found.findings.failures["regular"] == {"no header": 9, "examples dropped": 0}
    assert found.findings.failures["base_sample_generation"]["no examples"] == 9
    correlation = found.findings.correlations["regular ~ base_gold"]
    assert correlation.undefined is not None and correlation.verdict is None
    assert {pair.task: pair.chance for pair in found.findings.pairs["regular ~ base_gold"]} == {
        "one": 0,
        "two": 0,
        "choose": 0.25,
    }
    assert len(found.scores.comparisons) == 3


def test_examples_beyond_the_window_are_dropped_from_the_left_and_counted(base, tmp_path):
    narrow = make_tiny(tmp_path / "narrow", hidden_size=64, window=90)
    found = tuning_vs_in_context(narrow, narrow, items_table(ITEMS), POOL, num_inner=6, **QUICK)
    gold = [row for row in found.scores.rows() if row["model"] == "base_gold"]
    assert all(0 < row["dropped_examples"] < 6 for row in gold)
    assert all(prompts.num_examples(row["prompt"]) == 6 - row["dropped_examples"] for row in gold)
    tokenizer = narrow.tokenizer()
    assert all(len(tokenizer(row["prompt"])["input_ids"]) <= 84 for row in gold)
    assert found.findings.failures["base_gold"]["examples dropped"] == 9


def test_what_would_mislead_is_refused_before_a_model_is_asked(base, tmp_path):
    other = make_tiny(tmp_path / "other", hidden_size=128)
    items = items_table(ITEMS)
    with pytest.raises(ValueError, match=r"hidden_size, .* differ"):
        tuning_vs_in_context(base, other, items, POOL)
    with pytest.raises(ValueError, match="2 tasks make no correlation"):
        tuning_vs_in_context(base, base, items_table(ITEMS[:6]), POOL)
    with pytest.raises(ValueError, match="3 tasks make no correlation"):
        tuning_vs_in_context(base, base, items, POOL, clusters={"one": "f", "two": "f"})
    with pytest.raises(ValueError, match="clusters names 'three'"):
        tuning_vs_in_context(base, base, items, POOL, clusters={"three": "f"})
    with pytest.raises(ValueError, match=r"test tasks one \(9 rows\)"):
        tuning_vs_in_context(base, base, items, POOL, tuning=Examples.from_rows(rows("one", 9)))
    hidden = prompts.regular(Examples.from_rows([{"task": "else", "prompt": "two 51", "completion": "x"}]))
    with pytest.raises(ValueError, match=r"test tasks two \(1 rows\)"):
        tuning_vs_in_context(base, base, items, POOL, tuning=hidden)
    with pytest.raises(ValueError, match="'two' has 0 examples"):
        tuning_vs_in_context(base, base, items, Examples.from_rows(rows("one", 9)))
    text = Item("x", "text", "general", "text", "some text")
    with pytest.raises(ValueError, match="kind 'text'"):
        tuning_vs_in_context(base, base, items_table([*ITEMS, text]), POOL)


def test_another_vocabulary_is_another_parent(base, tmp_path):
    tokenizer = base.tokenizer()
    tokenizer.add_tokens(["<extra>"])
    with pytest.raises(ValueError, match="vocabulary differ"):
        tuning_vs_in_context(base, Model.of(base.load(), tokenizer, tmp_path / "m"), items_table(ITEMS), POOL)
