"""An audit tells a gain from a prompt that was tuned for one side only.

Two models of equal skill have accuracy 0.5 + e_k under prompt k of 11, e_k normal with deviation 0.03, independent for each
model; each takes its best prompt, or the base takes the specialist's, and both answer 500 questions. How often the specialist
wins has a closed form (below), and was simulated for the method's description: 6, 47, 37 and 84% in the four cells.

Contradicted if a win rate of 4,000 simulated worlds, judged and counted by the method's own code, is more than 2 points from that
description, or more than 3 from the closed form; the second cell is held to the closed form alone, by which the description's 47%
must be 49% (half of all worlds less half of the 2% that tie). Contradicted also if the copied prompt's mean gift is more than 0.3
points from E[max of 11 normals] times 0.03; if the parts of a gain do not add up to it to 1e-12; or if constrained decoding
chooses otherwise than the softmax over the whole vocabulary restricted to the letters. (Four standard errors of 4,000 worlds are
3.2 points at most, 1.5 for the smallest rate; the method's interval is a little wider than a plain bootstrap, which lowers the
rates under the interval rule.)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import integrate, stats

from metier.core.evidence import Check, Evidence, exact
from metier.engines.generate.open import open_language_model
from metier.evaluate.adaptation_progress.answers import Asked, Key, Plan
from metier.evaluate.adaptation_progress.audit import audit
from metier.evaluate.adaptation_progress.prompts import LETTERS, Row, candidate_prompts, sample_templates
from metier.evaluate.adaptation_progress.results import DECODINGS, Audit
from metier.evaluate.adaptation_progress.search import Asker
from metier.models.source import open_model
from metier.progress import track

PROMPTS, ROWS, SPREAD = 11, 500, 0.03
DESCRIBED = {"own, interval": 0.06, "copied, interval": 0.37, "copied, sign": 0.84}


def prove(quick: bool) -> Evidence:
    """4,000 worlds as 40 audits of 100 tasks (quick: 400 worlds, with tolerances for their noise), then real models."""
    worlds = 400 if quick else 4_000
    audits = [_audit(100, number) for number in track(range(worlds // 100), "simulating", unit="audit")]
    noise = 0.08 if quick else 0.0
    checks = [
        *_rates(audits, noise),
        Check("gift of a copied prompt, in shares", abs(_gift(audits) - _expected_maximum() * SPREAD), 0.012 if quick else 0.003),
        Check("parts less claimed", max(_sum_error(found) for found in audits), 1e-12),
        *(_restricted_softmax(source) for source in (["tiny"] if quick else ["tiny", "smollm2"])),
    ]
    measured = ", ".join(f"{cell} {_won(audits, cell):.1%}" for cell in audits[0].rates)
    return exact(
        claim="wins that a copied prompt or a missing interval makes out of nothing are as frequent as arithmetic says",
        metric="difference of win rates",
        checks=checks,
        notes=f"{worlds} worlds; win rates of a specialist that is no better: {measured}; "
        f"the gift is {100 * _gift(audits):.2f} points",
    )


def _audit(worlds: int, seed: int) -> Audit:
    """An audit of many tasks, each a world of its own, whose answers are drawn and not asked."""
    generator = np.random.default_rng(seed)
    plans, answers = [], dict[Key, Asked]()
    rows: list[Row] = [{"id": str(number), "gold": 1} for number in range(ROWS)]
    for number in range(worlds):
        plan = Plan(str(number), rows, [], [])
        specialist, base = generator.normal(0.5, SPREAD, size=(2, PROMPTS))
        best = {"candidate": specialist.argmax(), "own": base.argmax(), "copied": specialist.argmax()}
        for decoding in DECODINGS:
            for who, place in best.items():
                skill = (specialist if who == "candidate" else base)[place]
                right = (generator.random(ROWS) < skill).astype(int).tolist()
                answers[plan.task, decoding, who] = Asked(right, int(place))  # type: ignore[index]
        plans.append(plan)
    return audit(plans, answers, None, "pass", [], replicates=1_000, seed=seed)


def _won(audits: list[Audit], cell: str) -> float:
    return math.fsum(found.rates[cell]["win"] for found in audits) / len(audits)


def _gift(audits: list[Audit]) -> float:
    """How much more a copied prompt gives the specialist than a prompt of the base's own."""
    return math.fsum(found.claimed.value for found in audits) / len(audits)


def _sum_error(found: Audit) -> float:
    return abs(found.prompt.value + found.format.value + found.remaining.value - found.claimed.value)


def _expected_maximum() -> float:
    """The mean of the largest of 11 standard normal numbers, 1.586."""
    return float(integrate.quad(lambda x: x * _density(x), -10, 10)[0])


def _density(x: float) -> float:
    return float(PROMPTS * stats.norm.pdf(x) * stats.norm.cdf(x) ** (PROMPTS - 1))


def _closed_forms() -> dict[str, float]:
    """Win rates where a difference is normal: spread of skills and of 500 answers by each, beyond 1.96 errors or above 0.

    Half a question is taken off above 0, for a difference of none is a tie.
    """
    mean = _expected_maximum()
    variance = float(integrate.quad(lambda x: x * x * _density(x), -10, 10)[0]) - mean**2
    answers = 2 * 0.25 / ROWS
    deviation = {
        "own": math.sqrt(2 * variance * SPREAD**2 + answers),
        "copied": math.sqrt((variance + 1) * SPREAD**2 + answers),
    }
    shift = {"own": 0.0, "copied": mean * SPREAD}
    least = {"interval": 1.96 * math.sqrt(answers), "sign": 0.5 / ROWS}
    return {
        f"{cell}, {rule}": float(stats.norm.sf((least[rule] - shift[cell]) / deviation[cell])) for cell in shift for rule in least
    }


def _rates(audits: list[Audit], noise: float) -> list[Check]:
    checks = [
        Check(f"{cell}: from the description", abs(_won(audits, cell) - described), 0.02 + noise)
        for cell, described in DESCRIBED.items()
    ]
    for cell, expected in _closed_forms().items():
        checks.append(Check(f"{cell}: from the closed form", abs(_won(audits, cell) - expected), 0.03 + noise))
    return checks


def _restricted_softmax(source: str) -> Check:
    """How many of 22 questions are answered otherwise than by the model's own probabilities of the letters."""
    model = open_model(source)
    network, tokenizer = model.load(torch.float32), model.tokenizer()
    rows: list[Row] = [
        {"id": str(n), "prompt": f"Which number comes after {n}?", "options": [str(n + 2), str(n + 1), str(n - 1)], "gold": 1}
        for n in range(3, 9)
    ]
    prompts = candidate_prompts(sample_templates(10, seed=0), rows[:4], 1, 1, seed=0)
    questions = [(prompt, row) for prompt in prompts for row in rows[4:]]
    found = Asker(open_language_model(model, dtype="float32", cache=False)).answers(questions, "constrained")
    different = 0
    for (prompt, row), chosen in zip(questions, found, strict=True):
        whole = [tokenizer(prompt.text(row) + letter)["input_ids"] for letter in LETTERS[: len(row["options"])]]
        with torch.no_grad():
            probabilities = network(torch.tensor([whole[0][:-1]])).logits[0, -1].double().softmax(-1)
        different += chosen != int(probabilities[[ids[-1] for ids in whole]].argmax())
    return Check(f"{source}: answers unlike the restricted softmax", float(different), 0.5)
