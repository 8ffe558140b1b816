"""Measuring and comparing, against direct computation and by hand."""

import math
import shutil
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from metier.artifacts import Items, Model, Scores
from metier.engines.generate.open import open_language_model
from metier.evaluate.head_to_head import compare, head_to_head
from metier.evaluate.held_out_text import held_out_text
from metier.evaluate.item import Item, items_table
from metier.evaluate.measure import measure, normalised, summarise
from metier.evaluate.verdict import verdict
from metier.models.source import open_model
from metier.models.tiny import make_tiny


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Answers are kept in a cache of this test's own; the tiny model is made in it."""
    monkeypatch.setenv("METIER_CACHE", str(tmp_path_factory.mktemp("cache")))


ITEMS = [
    *(
        Item(f"c{i}", "choice", "acquired", "choice", f"The number {i} is", ["one", "two thousand", "a"], i % 3)
        for i in range(12)
    ),
    *(Item(f"t{i}", "text", "held_out", "text", f"This is text {i}, with some bytes: é.") for i in range(4)),
    *(Item(f"g{i}", "words", "general", "generate", f"Say {i}:", answer="x") for i in range(3)),
]


def test_numbers_equal_those_of_the_models_own_logits():
    model = open_model("tiny")
    scores = {row["item"]: row for row in measure(open_language_model(model, dtype="float32"), items_table(ITEMS)).rows()}
    network, tokenizer = model.load(dtype=torch.float32), model.tokenizer()

    def logprob(context, continuation):
        prefix, whole = (
            tokenizer(context)["input_ids"] or [tokenizer.bos_token_id],
            tokenizer(context + continuation)["input_ids"],
        )
        whole = whole if context else [*prefix, *whole]
        table = functional.log_softmax(network(torch.tensor([whole])).logits[0].double(), -1)
        return sum(table[place - 1, whole[place]].item() for place in range(len(prefix), len(whole)))

    for item in ITEMS[:4]:
        expected = [logprob(item.prompt, f" {option}") for option in item.options]
        assert scores[item.id]["logprobs"] == pytest.approx(expected, abs=1e-3)
        best = max(range(3), key=lambda place: expected[place] / len(f" {item.options[place]}".encode()))
        assert scores[item.id]["numerator"] == float(best == item.gold)
    text = ITEMS[12]
    assert scores[text.id]["numerator"] == pytest.approx(-logprob("", text.prompt) / math.log(2), rel=1e-4)
    assert scores[text.id]["denominator"] == len(text.prompt.encode())


def test_a_model_against_itself_ties_everywhere_and_is_no_specialist():
    tiny = open_model("tiny")
    found = head_to_head(tiny, tiny, [items_table(ITEMS)], replicates=200, num_samples=2)
    assert [comparison.outcome for comparison in found.comparisons] == ["tie"] * 3
    assert {(comparison.difference, comparison.p) for comparison in found.comparisons} == {(0.0, 1.0)}
    assert found.verdict.status == "no gain"
    samples = [row for row in found.rows() if row["kind"] == "sample"]
    assert [row["model"] for row in samples] == ["base", "base", "candidate", "candidate"]


def test_the_order_of_the_items_changes_nothing_and_results_survive_storage(tmp_path):
    base, other = open_model("tiny"), make_tiny(tmp_path / "other", seed=1)
    there = head_to_head(other, base, [items_table(ITEMS)], replicates=200, num_samples=0)
    back = head_to_head(other, base, [items_table(ITEMS[9:]), items_table(ITEMS[:9])], replicates=200, num_samples=0)
    in_back = {comparison.task: comparison for comparison in back.comparisons}
    assert in_back.keys() == {comparison.task for comparison in there.comparisons}
    for comparison in there.comparisons:
        assert (comparison.base, comparison.candidate) == pytest.approx(
            (in_back[comparison.task].base, in_back[comparison.task].candidate)
        )
    there.save(tmp_path / "scores")
    again = Scores.open(tmp_path / "scores")
    assert (again.comparisons, again.verdict) == (there.comparisons, there.verdict)


def row(item, task, role, value, *, kind="choice", metric="accuracy", size=1.0):
    return {
        "item": item,
        "task": task,
        "role": role,
        "kind": kind,
        "metric": metric,
        "numerator": value,
        "denominator": size,
        "options": ["a", "b"],
    }


def test_a_gain_is_better_a_loss_of_a_general_ability_is_a_cost():
    base = [row(f"q{i}", "questions", "acquired", i % 2) for i in range(100)] + [
        row(f"g{i}", "sums", "general", 1) for i in range(100)
    ]
    better = [row(f"q{i}", "questions", "acquired", 1) for i in range(100)] + [
        row(f"g{i}", "sums", "general", 1) for i in range(100)
    ]
    (questions, sums) = compare(base, better, replicates=500)
    assert (questions.outcome, questions.base, questions.candidate, questions.chance) == ("better", 0.5, 1.0, 0.5)
    assert sums.outcome == "tie"
    assert verdict([questions, sums]).status == "specialist"
    forgot = better[:100] + [row(f"g{i}", "sums", "general", i % 2) for i in range(100)]
    found = compare(base, forgot, replicates=500)
    assert verdict(found).status == "cost"
    assert "it lost sums (50.0% instead of 100.0%)" in verdict(found).sentence
    assert verdict(compare(better, base, replicates=500)).status == "worse"


def test_fewer_bits_are_better_and_directions_are_pooled():
    def both(bits, right):
        return [row(f"t{i}", "text", "held_out", bits * 40, kind="text", metric="bits per byte", size=40.0) for i in range(9)] + [
            row(f"{task}{i}", task, "held_out", right) for task in ("names", "descriptions") for i in range(20)
        ]

    found = {comparison.task: comparison for comparison in compare(both(1.5, 0), both(1.2, 1), replicates=200)}
    assert list(found) == ["all questions on documents held out", "text", "names", "descriptions"]
    assert found["text"].difference == pytest.approx(-0.3)
    assert found["text"].outcome == "better"
    assert found["all questions on documents held out"].num_items == 40


def test_models_that_answered_different_items_are_not_compared():
    with pytest.raises(ValueError, match="different items: 2 of one only"):
        compare([row("a", "t", "general", 1)], [row("b", "t", "general", 1)])
    with pytest.raises(ValueError, match="same id"):
        head_to_head(open_model("tiny"), open_model("tiny"), [items_table(ITEMS[:2]), items_table(ITEMS[:2])])
    with pytest.raises(ValueError, match="no items"):
        head_to_head(open_model("tiny"), open_model("tiny"), [])


@pytest.mark.parametrize("norm", ["bytes", "tokens", "unconditional", "none"])
def test_each_norm_chooses_by_its_own_number(norm):
    found = list(measure(open_language_model("tiny", dtype="float32"), items_table(ITEMS[:12]), norm=norm).rows())
    for scored in found:
        divided = {
            "bytes": [a / b for a, b in zip(scored["logprobs"], scored["num_bytes"], strict=True)],
            "tokens": [a / b for a, b in zip(scored["logprobs"], scored["num_tokens"], strict=True)],
            "unconditional": [a - b for a, b in zip(scored["logprobs"], scored["unconditional_logprobs"], strict=False)],
            "none": scored["logprobs"],
        }[norm]
        assert scored["chosen"] == divided.index(max(divided))


def test_estimates_of_one_model_have_intervals_and_chance():
    (estimate,) = summarise(measure(open_language_model("tiny"), items_table(ITEMS[:12])))
    assert (estimate.task, estimate.num_items, estimate.chance) == ("choice", 12, pytest.approx(1 / 3))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize(
    ("answer", "same"), [(' "Green." ', "green"), ("two\n words!", "Two words"), ("**yes**", "YES"), ("3.5", "3.5")]
)
def test_answers_are_compared_without_what_does_not_count(answer, same):
    assert normalised(answer) == normalised(same)


def test_held_out_texts_fill_their_budget_and_nothing_is_refused():
    from metier.artifacts import Corpus

    corpus = Corpus.from_rows([{"id": str(i), "text": "x" * 30, "source": "s"} for i in range(10)])
    texts = [found["prompt"] for found in held_out_text(corpus, characters=100, longest=25).rows()]
    assert [len(text) for text in texts] == [25, 25, 25, 25]
    with pytest.raises(ValueError, match="holds no text"):
        held_out_text(Corpus.from_rows([]))
    with pytest.raises(ValueError, match="no items"):
        measure(open_language_model("tiny"), Items.from_rows([]))


@pytest.mark.parametrize("options", [[], ["one"], ["a", "b"]])
def test_a_question_needs_two_options_and_a_gold(options):
    with pytest.raises(ValueError, match="make no question"):
        Item("q", "t", "general", "choice", "p", options)


def test_a_handful_of_items_makes_no_specialist():
    for size in (1, 3):
        before, after = ([row(f"q{i}", "questions", "acquired", right) for i in range(size)] for right in (0, 1))
        found = compare(before, after, replicates=200)
        assert found[0].outcome == "tie"
        assert verdict(found).status == "no gain"


def test_without_anything_of_the_domain_no_claim_is_made_about_it():
    rows = [row(f"g{i}", "sums", "general", 1) for i in range(20)]
    found = verdict(compare(rows, rows, replicates=200))
    assert (found.status, found.sentence.startswith("Nothing of its domain was examined")) == ("no gain", True)
    with pytest.raises(ValueError, match="no items"):
        compare([], [])


def test_a_model_trained_on_its_text_is_better_on_it_and_only_there(tmp_path):
    base = open_model("tiny")
    learnt = [f"The keeper of tower {i} lights the lamp at {i + 3} o'clock." for i in range(8)]
    network, tokenizer = base.load(dtype=torch.float32), base.tokenizer()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(30):
        for text in learnt:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            network(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    shutil.copytree(base.path, tmp_path / "trained")
    network.save_pretrained(tmp_path / "trained")
    items = [
        *(Item(f"t{i}", "learnt", "acquired", "text", text) for i, text in enumerate(learnt)),
        *(Item(f"q{i}", "hour", "acquired", "choice", text[:-12], [text[-11:], "zqxj vkwp"], 0) for i, text in enumerate(learnt)),
    ]
    found = head_to_head(Model(tmp_path / "trained"), base, [items_table(items)], num_samples=0, dtype="float32")
    by_task = {comparison.task: comparison for comparison in found.comparisons}
    assert by_task["learnt"].outcome == "better"
    assert by_task["learnt"].candidate < by_task["learnt"].base - 1
    assert found.verdict.status == "specialist"
    with torch.no_grad():
        nats = sum(
            network(
                input_ids=(ids := tokenizer(f"{tokenizer.bos_token}{text}", return_tensors="pt")["input_ids"]), labels=ids
            ).loss.item()
            * (ids.shape[1] - 1)
            for text in learnt
        )
    assert by_task["learnt"].candidate == pytest.approx(nats / math.log(2) / sum(len(text.encode()) for text in learnt), rel=1e-3)


def test_both_models_compute_in_the_precision_asked_for():
    tiny = open_model("tiny")
    found = {
        dtype: [row["logprobs"] for row in head_to_head(tiny, tiny, [items_table(ITEMS[:12])], replicates=200, num_samples=0, dtype=dtype).rows()]
        for dtype in ("float32", "bfloat16")
    }  # fmt: skip
    direct = [row["logprobs"] for row in measure(open_language_model(tiny, dtype="float32"), items_table(ITEMS[:12])).rows()]
    assert found["float32"] == direct * 2
    assert found["bfloat16"] != found["float32"]
    for half, full in zip(found["bfloat16"], found["float32"], strict=True):
        assert half == pytest.approx(full, rel=0.02)


ALONE = """
import gc
gc.disable()  # so that nothing goes but what head_to_head lets go
from metier.evaluate.general_probes import general_probes
from metier.evaluate.head_to_head import head_to_head
from metier.models.source import open_model
head_to_head(open_model("tiny"), open_model("tiny"), [general_probes(num_items=3)], replicates=100, num_samples=0)
from transformers import PreTrainedModel
print(sum(isinstance(thing, PreTrainedModel) for thing in gc.get_objects()))
"""


def test_no_network_stays_in_memory():
    # In a process of its own: only what a process loads first is held by cycles.
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stdout + done.stderr
