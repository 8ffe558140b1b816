"""Scores: every row, the comparisons and the verdict come back as they were saved."""

import json

import pytest

from metier.artifacts import Comparison, Scores, Verdict

ROW = {
    "item": "q1",
    "task": "questions",
    "role": "acquired",
    "kind": "choice",
    "model": "base",
    "metric": "accuracy",
    "numerator": 1.0,
    "denominator": 1.0,
    "options": ["a", "ü"],
    "logprobs": [-1.5, -2.25],
}
COMPARISON = Comparison(
    task="questions", role="acquired", metric="accuracy", better="higher", num_items=4,
    base=0.25, base_low=0.0, base_high=0.75, candidate=0.5, candidate_low=0.0, candidate_high=1.0,
    difference=0.25, low=-0.25, high=0.75, p=0.5, p_holm=1.0, outcome="tie", chance=0.25,
)  # fmt: skip
VERDICT = Verdict("no gain", "Not a specialist: …")


def test_what_is_saved_is_what_is_opened(tmp_path):
    rows = [ROW, ROW | {"model": "candidate", "numerator": 0.0}]
    saved = Scores(Scores.from_rows(rows).frame(), comparisons=[COMPARISON], verdict=VERDICT).save(tmp_path / "scores")
    opened = Scores.open(tmp_path / "scores")
    for scores in (saved, opened):
        assert (scores.comparisons, scores.verdict) == ([COMPARISON], VERDICT)
        assert list(scores.rows()) == rows
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["verdict"]["status"] == "no gain"


def test_scores_of_one_model_have_no_comparison_and_no_verdict(tmp_path):
    opened = Scores.from_rows([ROW]).save(tmp_path / "scores")
    assert (opened.comparisons, opened.verdict) == ([], None)


def test_rows_without_the_numbers_behind_a_metric_are_no_scores():
    with pytest.raises(ValueError, match=r"\['denominator'\] are missing"):
        Scores.from_rows([{name: value for name, value in ROW.items() if name != "denominator"}])
