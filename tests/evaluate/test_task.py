"""Rows become items as the YAML says; every packaged task is shaped by rows like its dataset's; the harness' plain tasks are understood."""

import gzip
import json

import pytest

from metier.engines.generate.open import open_language_model
from metier.evaluate.item import Item, items_table
from metier.evaluate.measure import are_right, extracted, measure
from metier.evaluate.rows import read_rows
from metier.evaluate.task import gold_index, items, read_task, task_of
from metier.evaluate.tasks import packaged

# A row as each public dataset has it on the hub (its columns, invented content), and the prompt's end, options, gold or answer made of it.
LABELLED = {"text": ["ice", "fire"], "label": ["1", "2"]}
ROWS = {
    "aqua": ({"question": "2+2?", "options": ["A)3", "B)4"], "correct": "B"}, "A. 3\nB. 4\nAnswer:", ["A", "B"], 1),
    "arc_challenge": ({"question": "Hot?", "choices": LABELLED, "answerKey": "2"}, "Question: Hot?\nAnswer:", ["ice", "fire"], 1),
    "arc_easy": ({"question": "Cold?", "choices": LABELLED, "answerKey": "1"}, "Question: Cold?\nAnswer:", ["ice", "fire"], 0),
    "boolq": ({"passage": "Ice is cold.", "question": "is ice hot", "answer": False}, "is ice hot?\nAnswer:", ["no", "yes"], 0),
    "casehold": (
        {"citing_prompt": "The court", "label": "4"} | {f"holding_{k}": f"h{k}" for k in range(5)},
        "The holding:", ["h0", "h1", "h2", "h3", "h4"], 4,
    ),
    "coin_flip": ({"inputs": "Q: Heads?", "targets": "yes"}, "Question: Heads?\nAnswer:", ["no", "yes"], 1),
    "commonsenseqa": ({"question": "Hot?", "choices": LABELLED, "answerKey": "B"}, "Question: Hot?\nAnswer:", ["ice", "fire"], 1),
    "gsm8k": ({"question": "1+1?", "answer": "1+1=2\n#### 2"}, "Question: 1+1?\nAnswer:", [], "1+1=2\n#### 2"),
    "hellaswag": (
        {"activity_label": "Baking", "ctx_a": "She [title] stirs.", "ctx_b": "then she", "endings": ["eats.", "flies."], "label": "0"},
        "Baking: She stirs. Then she", ["eats.", "flies."], 0,
    ),
    "math_500": ({"problem": "Half?", "answer": "\\frac{1}{2}"}, "Solution:", [], "\\frac{1}{2}"),
    "medmcqa": ({"question": "Which?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 2}, "D. d\nAnswer:", list("ABCD"), 2),
    "medqa": (
        {"question": "Which?", "options": {"A": "w", "B": "x", "C": "y", "D": "z"}, "answer_idx": "C"},
        "C. y\nD. z\nAnswer:", list("ABCD"), 2,
    ),
    "mmlu": ({"question": "Which? ", "choices": ["w", "x", "y", "z"], "answer": 3}, "Which?\nA. w\nB. x\nC. y\nD. z\nAnswer:", list("ABCD"), 3),
    "multiarith": ({"question": " 1+1? ", "final_ans": "2"}, "Question: 1+1?\nAnswer:", [], "2"),
    "openbookqa": ({"question_stem": "The sun is", "choices": LABELLED, "answerKey": "2"}, "The sun is", ["ice", "fire"], 1),
    "piqa": ({"goal": "Open it", "sol1": "pull", "sol2": "push", "label": 1}, "Question: Open it\nAnswer:", ["pull", "push"], 1),
    "pubmedqa": (
        {"context": {"contexts": ["One.", "Two."]}, "question": "So?", "final_decision": "maybe"},
        "Abstract: One.\nTwo.\nQuestion: So?\nAnswer:", ["yes", "no", "maybe"], 2,
    ),
    "strategyqa": ({"question": "So?", "answer": True}, "Question: So?\nAnswer:", ["no", "yes"], 1),
    "svamp": ({"Body": "One and one.", "Question": "How many?", "Answer": "2.0"}, "One and one. How many?\nAnswer:", [], "2.0"),
    "truthfulqa": (
        {"question": "So?", "mc1_targets": {"choices": ["right", "wrong"], "labels": [1, 0]}}, "Question: So?\nAnswer:", ["right", "wrong"], 0,
    ),
    "winogrande": ({"sentence": "A _ b.", "option1": "x", "option2": "y", "answer": "2"}, "The gap (_) stands for:", ["x", "y"], 1),
}  # fmt: skip


def test_every_packaged_task_is_tried():
    assert sorted(ROWS) == packaged()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_packaged_task_shapes_a_row_of_its_dataset(name, tmp_path):
    row, end, options, right = ROWS[name]
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    (item,) = items(read_task(f"{name}={file}"), shots=0)
    assert item.prompt.endswith(end)
    assert item.options == options
    assert (item.gold if options else item.answer) == right


def numbers(count):
    return [{"id": f"q{k}", "question": f"{k} + 1?", "options": [str(k + 1), "no"], "answer": 0} for k in range(count)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def described(folder, **changes):
    lines = {"dataset": "rows.jsonl", "prompt": '"Q: {{question}}\\nA:"', "options": "options", "gold": "answer"} | changes
    (folder / "sums.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None))
    return folder / "sums.yaml"


def test_worked_examples_are_the_same_for_all_items_and_never_asked(tmp_path):
    write(tmp_path / "rows.jsonl", numbers(10))
    found = items(task_of(described(tmp_path)), shots=3, seed=4)
    assert len(found) == 7
    heads = {item.prompt[: item.prompt.rindex("Q: ")] for item in found}
    assert len(heads) == 1
    (head,) = heads
    assert head.count("A: ") == 3
    assert all(f"Q: {item.id.rpartition('q')[2]} + 1?" not in head for item in found)
    assert [item.prompt for item in found] == [item.prompt for item in items(task_of(described(tmp_path)), shots=3, seed=4)]


def test_limit_asks_that_many(tmp_path):
    write(tmp_path / "rows.jsonl", numbers(10))
    assert len(items(task_of(described(tmp_path)), shots=2, limit=5)) == 5


def test_too_few_rows_for_the_examples(tmp_path):
    write(tmp_path / "rows.jsonl", numbers(3))
    with pytest.raises(ValueError, match="3 worked examples and a question cannot be had from 3 rows"):
        items(task_of(described(tmp_path)), shots=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": '"{{qestion}}"'}, "row 0 of .*'qestion' is undefined"),
        ({"gold": "solution"}, "needs a column that the row lacks"),
        ({"options": "question"}, "no list of texts"),
        ({"gold": "7"}, "7 is none of the 2 options"),
        ({"promt": "x"}, "unknown keys promt"),
        ({"shots": "five"}, "shots: Input should be a valid integer"),
        ({"letters": "5"}, "letters: Input should be a valid boolean"),
        ({"prompt": None}, "prompt missing"),
        ({"answer": "answer"}, "give `options` and `gold` for a choice, or `answer`"),
        ({"prompt": '"{{().__class__.__bases__}}"'}, "unsafe"),
    ],
)
def test_a_description_that_is_wrong_is_named(tmp_path, changes, message):
    write(tmp_path / "rows.jsonl", numbers(2))
    with pytest.raises(ValueError, match=message):
        items(task_of(described(tmp_path, **changes)))


def test_a_function_shapes_or_leaves_out_rows(tmp_path):
    write(tmp_path / "rows.jsonl", numbers(4))
    (tmp_path / "shape.py").write_text(
        "def even(row):\n    n = int(row['question'].split()[0])\n    return None if n % 2 else row | {'question': f'<{n}>'}\n"
    )
    found = items(task_of(described(tmp_path, function=f"{tmp_path}/shape.py:even")))
    assert [item.prompt for item in found] == ["Q: <0>\nA:", "Q: <2>\nA:"]


def test_rows_are_the_same_in_every_format(tmp_path):
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    rows = [{"a": "x", "b": "1"}, {"a": "ü,\n", "b": "2"}]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "t.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "t.csv")
    write(tmp_path / "t.jsonl", rows)
    (tmp_path / "t.json").write_text(json.dumps(rows))
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress((tmp_path / "t.jsonl").read_bytes()))
    for name in ("t.parquet", "t.csv", "t.jsonl", "t.json", "t.jsonl.gz"):
        assert list(read_rows(str(tmp_path / name))) == rows, name


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(ValueError, match=r"t.jsonl:2: broken JSON"):
        list(read_rows(str(tmp_path / "t.jsonl")))


def test_plain_harness_tasks_are_understood(tmp_path):
    write(
        tmp_path / "rows.jsonl",
        [{"q": "2+2?", "choices": ["3", "4"], "gold": 1}, {"q": "1+1?", "choices": ["2", "5"], "gold": 0}],
    )
    (tmp_path / "h.yaml").write_text(
        "task: h\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\noutput_type: multiple_choice\n"
        'doc_to_text: "Question: {{q}}\\nAnswer:"\ndoc_to_choice: "{{choices}}"\ndoc_to_target: gold\ndescription: "Sums.\\n\\n"\n'
        "metric_list:\n  - metric: acc\n"
    )
    first, second = items(task_of(tmp_path / "h.yaml"))
    assert (first.prompt, first.options, first.gold) == ("Sums.\n\nQuestion: 2+2?\nAnswer:", ["3", "4"], 1)
    assert second.gold == 0


def test_plain_harness_generation_is_understood(tmp_path):
    write(tmp_path / "rows.jsonl", [{"question": "1+1?", "answer": "so 2\n#### 2"}])
    (tmp_path / "g.yaml").write_text(
        "task: g\ndataset_path: json\ndataset_kwargs: {data_files: rows.jsonl}\noutput_type: generate_until\ndoc_to_text: question\n"
        'doc_to_target: "{{answer.split(\'####\')[-1].strip()}}"\ngeneration_kwargs: {until: ["Q:"], max_gen_toks: 99}\n'
        'filter_list:\n  - name: strict\n    filter: [{function: regex, regex_pattern: "#### ([0-9]+)"}]\n'
    )
    (item,) = items(task_of(tmp_path / "g.yaml"))
    assert (item.answer, item.stop, item.max_new_tokens, item.extract) == ("2", ["Q:"], 99, "#### ([0-9]+)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("doc_to_text: !function u.f\ndataset_path: x\n", "doc_to_text is a Python function"),
        ("doc_to_text: q\noutput_type: loglikelihood_rolling\n", "output_type loglikelihood_rolling cannot be converted"),
        ("doc_to_text: q\nprocess_docs: x\n", "process_docs are beyond the plain form"),
    ],
)
def test_what_is_beyond_the_plain_form_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        task_of(tmp_path / "t.yaml")


def test_gold_is_found_by_number_letter_and_text():
    assert [gold_index(["x", "y"], gold) for gold in (1, "B", "b", "y", "1")] == [1, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="none of the 2 options"):
        gold_index(["x", "y"], "C")


def test_free_answers_are_read_by_their_pattern_and_compared_by_value():
    assert extracted("7 and 8, so 1,250.", r"([0-9][0-9,]*)") == "1,250"
    assert extracted("nothing", "[0-9]+") is None
    item = {"answer": "3 * 5 = 15\n#### 15", "extract": r"(-?[0-9][0-9,]*(?:\.[0-9]+)?)", "compare": "value"}
    assert are_right(["15.0", "16", None], [item] * 3) == [True, False, False]
    assert are_right(["Fifteen.", "15"], [{"answer": "fifteen", "extract": "", "compare": "words"}] * 2) == [True, False]


def test_generated_tasks_are_measured():
    rows = [Item(f"g{k}", "sum", "general", "generate", f"Q: {k}\nA:", answer=str(k), stop=["\n"], max_new_tokens=4, extract="[0-9]+",
                 compare="value") for k in range(3)]  # fmt: skip
    scored = list(measure(open_language_model("tiny", cache=False), items_table(rows)).rows())
    assert [row["denominator"] for row in scored] == [1.0] * 3
    assert all((row["extracted"] is None) == (not any(sign.isdigit() for sign in row["completion"])) for row in scored)
