"""What is said of a metric along a run, by hand, and on the published checkpoints of the Pythia models where they are at hand."""

import json
import math
from pathlib import Path

import pytest

from metier.engines.stats.trust import trust

PYTHIA = Path(__file__).parents[3].parent / "shared" / "data" / "pretrain" / "pythia_evals.jsonl"
STEPS = list(range(1, 13))
RISING = [0.2 + 0.05 * step for step in STEPS]


def test_a_metric_that_rises_and_ranks_is_kept_and_without_models_consistency_is_open():
    found = trust("m", STEPS, RISING, errors=[0.01] * 12, pairs=[(i, i * i) for i in range(6)])
    assert (found.stability, found.early, found.consistency) == pytest.approx((1, 1, 1))
    assert found.verdict == "keep"
    assert found.consistency_p == pytest.approx(2 / 720)
    # four checkpoints at either end, 0.4 apart, each with an error of 0.01
    assert found.rise == pytest.approx(0.4 / math.sqrt(8 * 0.01**2 / 16))
    alone = trust("m", STEPS, RISING, pairs=[(i, -i) for i in range(5)])
    assert (alone.consistency, alone.verdict) == (pytest.approx(-1), "keep")
    assert "consistency is open with 5 of the 6 models" in alone.reason


def test_lower_is_better_for_a_loss():
    falling = [-score for score in RISING]
    assert trust("loss", STEPS, falling, better="lower").stability == pytest.approx(1)
    assert trust("loss", STEPS, falling).stability == pytest.approx(-1)


@pytest.mark.parametrize(
    ("scores", "errors", "pairs", "verdict", "reason"),
    [
        ([0.25] * 12, None, (), "drop", "same score"),
        ([0.25 + 0.001 * step for step in STEPS], [0.016] * 12, (), "drop", "8 times the items"),
        ([0.2, 0.5] * 6, None, (), "re-form", "stability 0.12 is below 0.7"),
        (RISING, [0.01] * 12, [(1, 4), (2, 5), (3, 6), (4, 1), (5, 2), (6, 3)], "re-form", "consistency -0.20 is below 0.6"),
    ],
)
def test_each_rule_names_itself(scores, errors, pairs, verdict, reason):
    found = trust("m", STEPS, scores, errors=errors, pairs=pairs)
    assert (found.verdict, reason in found.reason) == (verdict, True), found


@pytest.mark.parametrize(
    ("steps", "scores", "message"),
    [([1, 2, 3], [1, 2, 3], "3 checkpoints"), ([1, 2, 2, 3], [1, 2, 3, 4], "do not rise"), ([1, 2, 3, 4], [1, 2, 3], "match")],
)
def test_what_is_no_run_is_refused_by_name(steps, scores, message):
    with pytest.raises(ValueError, match=f"acc.*{message}"):
        trust("acc", steps, scores)


@pytest.mark.skipif(not PYTHIA.is_file(), reason="the published Pythia results are not beside this checkout")
def test_on_a_real_run_language_tasks_earn_trust_and_tasks_at_chance_do_not():
    rows = [json.loads(line) for line in PYTHIA.read_text().splitlines()]
    run = sorted(
        (row for row in rows if (row["model"], row["shots"]) == ("pythia-12b", "five-shot")), key=lambda row: row["step"]
    )
    steps = [row["step"] for row in run]
    verdicts = {}
    for task in ("lambada_openai", "arc_easy", "sciq", "logiqa", "wsc"):
        scores = [row["results"][task]["acc"] for row in run]
        errors = [row["results"][task]["acc_stderr"] for row in run]
        verdicts[task] = trust(task, steps, scores, errors=errors).verdict
    # LogiQA has four options, WSC a hundred sentences: the model answers both at chance from the first to the last checkpoint.
    assert verdicts == {"lambada_openai": "keep", "arc_easy": "keep", "sciq": "keep", "logiqa": "drop", "wsc": "drop"}
