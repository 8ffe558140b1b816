"""`metier eval`: numbers that transformers itself gives, tasks in every form, and refusals."""

import json
import math
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from metier.artifacts import Items, Scores
from metier.cli.evaluate import read_items
from metier.core.errors import InputError
from metier.evaluate.item import Item, items_table
from metier.models.tiny import make_tiny

QUESTIONS = [
    {"question": "What is hot?", "options": ["fire", "ice is not", "a stone in the shade"], "answer": "fire"},
    {"question": "What is wet?", "options": ["sand", "the sea"], "answer": 1},
    {"question": "What flies?", "options": ["a stone", "a bird", "a tree"], "answer": "B"},
    {"question": "How many legs has a horse?", "options": ["four", "five"], "answer": "a"},
]
GOLD = [0, 1, 1, 0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("model"), seed=1, std=0.2).path


@pytest.fixture
def exam(tmp_path):
    file = tmp_path / "exam.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return file


def logprob(path, context: str, continuation: str) -> float:
    """log p(continuation | context) by a plain forward pass in fp32."""
    tokenizer, network = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    before, both = tokenizer(context)["input_ids"], tokenizer(context + continuation)["input_ids"]
    assert both[: len(before)] == before
    with torch.no_grad():
        logits = network(torch.tensor([both])).logits[0].log_softmax(-1)
    return sum(float(logits[at - 1, both[at]]) for at in range(len(before), len(both)))


def test_choices_are_scored_as_a_plain_forward_pass_scores_them(metier, model, exam, tmp_path):
    done = metier("eval", model, "--tasks", exam, "--into", "scores", "--json")
    assert done.returncode == 0, done.stderr
    rows = list(Scores.open(tmp_path / "scores").rows())
    right = []
    for row, question, gold in zip(rows, QUESTIONS, GOLD, strict=True):
        expected = [logprob(model, f"Question: {question['question']}\nAnswer:", f" {option}") for option in question["options"]]
        assert row["logprobs"] == pytest.approx(expected, rel=0.02)  # bf16 where the machine is fast at it
        values = [value / len(f" {option}") for value, option in zip(row["logprobs"], question["options"], strict=True)]
        right.append(values.index(max(values)) == gold)
        assert row["numerator"] == right[-1]
    [estimate] = json.loads(done.stdout)
    assert list(estimate) == ["task", "role", "metric", "num_items", "value", "low", "high", "chance"]
    assert (estimate["task"], estimate["num_items"], estimate["value"]) == ("exam", 4, sum(right) / 4)
    assert estimate["chance"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_items_of_a_run_are_tasks_and_are_shown_as_a_table(metier, model, tmp_path):
    text = "The judge heard the witness. " * 5
    items = [
        Item("a", "reading", "held_out", "text", text),
        Item("b", "writing", "general", "generate", "Say yes.", answer="yes"),
    ]
    items_table(items).save(tmp_path / "questions")
    done = metier("eval", model, "--tasks", "questions", "--into", "scores")
    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: line for line in done.stdout.splitlines()}
    tokenizer = AutoTokenizer.from_pretrained(model)
    bits = -logprob(model, tokenizer.bos_token, text) / math.log(2) / len(text)
    row = next(row for row in Scores.open(tmp_path / "scores").rows() if row["task"] == "reading")
    assert row["numerator"] / row["denominator"] == pytest.approx(bits, rel=0.02)
    assert f"{row['numerator'] / row['denominator']:.3f}" in found["reading"]
    assert "0.0%" in found["writing"] and "exact match" in found["writing"]


@pytest.mark.slow
def test_the_built_in_probes_are_the_default(metier):
    done = metier("eval", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) >= 3
    assert {estimate["role"] for estimate in found} == {"general"}
    for estimate in found:
        assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_a_file_of_items_means_the_same_in_every_form(exam, tmp_path):
    from_json = read_items(str(exam))
    assert [row["gold"] for row in from_json.rows()] == GOLD
    stored = from_json.save(tmp_path / "items")
    assert list(read_items(str(tmp_path / "items")).rows()) == list(from_json.rows())
    [parquet] = stored.path.glob("*.parquet")
    assert list(read_items(str(parquet)).rows()) == list(from_json.rows())
    full = tmp_path / "full.jsonl"
    full.write_text("".join(json.dumps(row) + "\n" for row in Items.open(parquet).rows()))
    assert list(read_items(str(full)).rows()) == list(from_json.rows())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"question": "x", "options": ["a", "b"], "answer": "c"}', ["bad.jsonl:2", "'c' is none of the 2 options"]),
        ('{"question": "x", "options": ["a", "b"], "answer": 2}', ["bad.jsonl:2", "2 is none of the 2 options"]),
        ('{"question": "x", "options": ["a"], "answer": 0}', ["bad.jsonl:2", "1 options"]),
        ('{"question": "x", "options": "ab", "answer": 0}', ["bad.jsonl:2", "list of texts"]),
        ('{"frage": "x", "antwort": "y"}', ["bad.jsonl:2", "frage, antwort"]),
        ('{"question": "x"', ["bad.jsonl:2"]),
        ("[1]", ["bad.jsonl:2", "[1]"]),
    ],
)
def test_a_line_that_is_no_item_is_named(tmp_path, line, words):
    (tmp_path / "bad.jsonl").write_text(json.dumps(QUESTIONS[0]) + "\n" + line + "\n")
    with pytest.raises(InputError) as caught:
        read_items(str(tmp_path / "bad.jsonl"))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny", "--tasks", "genral"], ["did you mean 'general'?"]),
        (["tiny", "--tasks", "exam.jsonl", "--tasks", "again/exam.jsonl"], ["'exam-1' is in two of the tasks"]),
        (["tiny", "--tasks", "exam.jsonl", "--into", "again"], ["again exists"]),
        (["tiny", "--tasks", "empty.jsonl"], ["empty.jsonl holds no items"]),
        (["tiny", "--tasks", "again"], ["again holds no Parquet file"]),
        (["tiny", "--norm", "words"], ["'words'"]),
        (["tinny", "--tasks", "exam.jsonl"], ["did you mean 'tiny'?"]),
        ([], ["Missing argument"]),
    ],
)
def test_what_cannot_be_scored_is_refused(metier, exam, tmp_path, arguments, words):
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "exam.jsonl").write_text(exam.read_text())
    (tmp_path / "empty.jsonl").write_text("\n")
    done = metier("eval", *arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_killed_examination_goes_on_without_asking_again(metier, command, environment, model, tmp_path):
    """What was answered before the kill is marked in the cache; the marks are in the final scores."""
    rows = [{"question": f"Is {k} even?", "options": ["yes", "no"], "answer": k % 2} for k in range(1500)]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = environment | {"METIER_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [*command, "eval", str(model), "--tasks", "long.jsonl"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    answers = tmp_path / "cache" / "answers.sqlite"

    def count() -> int:
        if not answers.is_file():
            return 0
        with closing(sqlite3.connect(answers, timeout=60)) as connection:
            try:
                return connection.execute("SELECT count(*) FROM answers").fetchone()[0]
            except sqlite3.OperationalError:  # the table is not there yet
                return 0

    while count() == 0 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    before = count()
    assert 0 < before < 3000
    with closing(sqlite3.connect(answers, timeout=60)) as connection, connection:
        connection.execute("UPDATE answers SET answer = json_set(answer, '$.logprob', -1234.5)")
    done = metier("eval", model, "--tasks", "long.jsonl", "--into", "scores", extra={"METIER_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    assert count() == 3000
    logprobs = [value for row in Scores.open(tmp_path / "scores").rows() for value in row["logprobs"]]
    assert sum(value == -1234.5 for value in logprobs) == before
