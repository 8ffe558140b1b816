"""`metier compare`: the numbers of head_to_head, corrected as one family; refusals; a page."""

import json

import pytest

from metier.artifacts import Scores
from metier.artifacts.comparison import Comparison
from metier.cli.compare import correct_together
from metier.models.tiny import make_tiny

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return [str(make_tiny(tmp_path_factory.mktemp(f"model{seed}"), seed=seed, std=0.2).path) for seed in (1, 2, 3)]


def write(path, name, count):
    rows = [
        {
            "question": f"{name} {k}: {LETTERS[k % 26]} or {LETTERS[(k + 7) % 26]}?",
            "options": [LETTERS[k % 26], "none"],
            "answer": k % 2,
        }
        for k in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def comparison(p, low=0.1):
    return Comparison("t", "general", "accuracy", "higher", 9, 0.1, 0, 1, 0.4, 0, 1, 0.3, low, 0.5, p, p, "better")


def test_p_values_of_all_models_are_one_family():
    found = [Scores.from_rows([], Scores.required) for _ in range(2)]
    found[0].comparisons, found[1].comparisons = [comparison(0.01), comparison(0.04)], [comparison(0.03)]
    correct_together(found)
    # Holm by hand: sorted 0.01 * 3, 0.03 * 2, max(0.06, 0.04 * 1)
    assert [one.p_holm for scores in found for one in scores.comparisons] == pytest.approx([0.03, 0.06, 0.06])
    assert [one.corrected for scores in found for one in scores.comparisons] == ["better", "tie", "tie"]


def test_two_candidates_on_one_file(metier, models, tmp_path):
    exam = write(tmp_path / "exam.jsonl", "exam", 30)
    done = metier("compare", *models, "--tasks", exam, "--into", "versus", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == models[1:]
    alone = json.loads(metier("eval", models[1], "--tasks", exam, "--json").stdout)[0]
    (one,) = found[models[1]]
    assert one["candidate"] == alone["value"]
    assert one["num_gained"] - one["num_lost"] == round(30 * one["difference"])
    assert (tmp_path / "versus" / "index.html").is_file()
    assert Scores.open(tmp_path / "versus" / "2").comparisons[0].candidate == found[models[2]][0]["candidate"]
    shown = metier("compare", *models[:2], "--tasks", exam).stdout
    assert "better" in shown and "of 1" in shown


def test_each_model_is_asked_by_its_own_prompt_with_practice(metier, models, tmp_path):
    exam = write(tmp_path / "exam.jsonl", "exam", 12)
    (tmp_path / "practice").mkdir()
    practice = write(tmp_path / "practice" / "exam.jsonl", "practice", 60)
    done = metier("compare", *models[:2], "--tasks", exam, "--practice", practice, "--shots", "0", "--into", "versus")
    assert done.returncode == 0, done.stderr
    rows = list(Scores.open(tmp_path / "versus" / "1").rows())
    assert {tuple(row["options"]) for row in rows if row["kind"] == "choice"} == {("A", "B")}
    assert all("exam" in row["prompt"] and "practice" not in row["prompt"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "tiny"], "named twice"),
        (["tiny", "nowhere"], "nowhere"),
        (["tiny", "smollm2", "--tasks", "gsm9k"], "did you mean 'gsm8k'"),
    ],
)
def test_bad_input_is_named(metier, arguments, message):
    done = metier("compare", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
