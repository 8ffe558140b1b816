"""Solving step by step under control: steps are validated, wrong ones corrected, and calls spent only where they are needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from metier.artifacts import Items, Scores
from metier.artifacts.scores import score_row
from metier.engines.generate.failures import check_failures
from metier.infer.reasoning_sets import reasoning_set
from metier.infer.step_controller import Question, Settings, Solution, solve_all
from metier.infer.step_validators import VALIDATORS, Validator
from metier.infer.zero_shot_cot import Compare, right
from metier.method import method
from metier.models.language_model import LanguageModel

logger = logging.getLogger(__name__)

Row = dict[str, Any]
LEAST_CALIBRATION = 30  # items below which the validator's rates say nothing
LEAST_ADVANTAGE = 0.2  # recall minus false alarms


class Plan(NamedTuple):
    """What validation is expected to give: chances of a right step and a right answer, with and without it, and the solver's
    calls a step."""

    step: float
    answer: float
    answer_without: float
    calls: float

    @property
    def pays(self) -> bool:
        return self.answer > self.answer_without


@method(
    paper="Think Beyond Size: Adaptive Prompting for More Effective Reasoning, arXiv 2410.08130",
    claim="accuracy and calls are what the validator's recall and false alarms say, to the closed form",
)
def adaptive_prompting(
    items: Items,
    model: LanguageModel,
    *,
    answers_like: str | None = None,
    validator: Literal["auto", "program", "consistency", "model"] = "auto",
    compare: Compare = "numeric",
    max_steps: int = 8,
    max_corrections: int = 2,
    retry_temperature: float = 0.7,
    max_calls: int | None = None,
    max_tokens: int | None = None,
    max_step_tokens: int = 96,
    seed: int = 0,
) -> Scores:
    """One row an item: right or wrong, and how the answer came about. References are compared at the end and reach no prompt.

    First the model says what is given and how many steps it expects; then it solves step by step, each validated, and a refused
    one is tried again with the reason (another temperature; from the second refusal on with smaller steps). The last attempt is
    accepted, as unverified. The whole is checked once more, and one refusal starts anew. The paper publishes neither prompts nor
    code: states, wording and thresholds are ours.
    Columns besides those of every metric: found, parsed, stop (answered, budget, loop, unparsed: solved by zero-shot chain of
    thought instead), difficulty (steps expected), calls, solver_calls, num_tokens, answers (one a pass), first_wrong (whether the
    first answer was refused), missing (facts the model found missing), steps, trace (a line a step), transcript (prompts and
    replies), failure. Where 30 or more items have references, the validator's rates are measured on first answers, and a warning
    says when they are too close to pay.
    Raises ValueError for bad settings and no items; RuntimeError when more than 5% of the items fail.
    Settings:
        answers_like: the set whose rules find the answer, such as gsm8k; None for the one that each item's task names
        validator: program (exact arithmetic), consistency (two more samples), model (a second derivation); auto is program where
            answers are numbers, else consistency
        compare: how answers are compared: paper, numeric or strict, as in infer.zero_shot_cot
        max_steps: most steps of a solution (ours)
        max_corrections: most attempts at a step after the first (ours)
        retry_temperature: of corrections and further samples, above 0: at 0 a retry is likely to repeat the error (ours)
        max_calls: most calls a question; None for 4 + 3 for each step expected (ours)
        max_tokens: most tokens written for a question; None for no limit
        max_step_tokens: most tokens of one step
    """
    rows = list(items.rows())
    _check(rows, max_steps, max_corrections, retry_temperature, max_calls, max_tokens)
    questions = [Question(row["prompt"], bool(row["chat"]), reasoning_set(answers_like or row["task"])) for row in rows]
    strict = compare == "strict"
    settings = Settings(max_steps, max_corrections, retry_temperature, max_calls, max_tokens, max_step_tokens, strict, seed)
    solutions = solve_all(questions, model, [_validator(validator, question) for question in questions], settings)
    check_failures([solution.failure for solution in solutions], "questions")
    verdicts = right([(row["answer"], solution.answer) for row, solution in zip(rows, solutions, strict=True)], compare)
    scored = [_row(*pair, model.name) for pair in zip(rows, solutions, verdicts, strict=True)]
    _calibrate(rows, solutions, compare)
    return Scores.from_rows(scored)


def plan(*, error: float, recall: float, false_alarm: float, steps: int, corrections: int = 2) -> Plan:
    """What to expect of `steps` steps, each wrong with chance `error`, under a validator with this recall (wrong steps it
    refuses) and rate of false alarms (right ones it refuses), and up to `corrections` more attempts, the last of which is always
    accepted.

    With a chance of refusal rho = (1 - error) false_alarm + error recall, a step is right with (1 - error)(1 - false_alarm)
    sum(rho^i, i < R) + (1 - error) rho^R and takes sum(rho^i, i <= R) calls. Validation pays just when recall is above
    false_alarm. Raises ValueError for chances outside 0 to 1.
    """
    for name, chance in (("error", error), ("recall", recall), ("false_alarm", false_alarm)):
        if not 0 <= chance <= 1:
            raise ValueError(f"{name}={chance} is no chance: give a number from 0 to 1")
    if steps < 1 or corrections < 0:
        raise ValueError(f"steps={steps} and corrections={corrections}: give 1 or more and 0 or more")
    refused = (1 - error) * false_alarm + error * recall
    tries = sum(refused**number for number in range(corrections))
    step = (1 - error) * ((1 - false_alarm) * tries + refused**corrections)
    return Plan(step, step**steps, (1 - error) ** steps, tries + refused**corrections)


def validator_rates(refused: Sequence[bool], is_right: Sequence[bool]) -> tuple[float | None, float | None]:
    """Recall (share of wrong answers that were refused) and false alarms (share of right ones); None where there are none to tell
    from."""
    wrong = [verdict for verdict, ok in zip(refused, is_right, strict=True) if not ok]
    good = [verdict for verdict, ok in zip(refused, is_right, strict=True) if ok]
    return (sum(wrong) / len(wrong) if wrong else None, sum(good) / len(good) if good else None)


def calls_by_difficulty(scores: Scores) -> dict[int, float]:
    """The mean of calls for each number of steps that was expected (0: not even understood), in rising order."""
    spent: dict[int, list[int]] = {}
    for row in scores.rows():
        spent.setdefault(row["difficulty"], []).append(row["calls"])
    return {steps: sum(calls) / len(calls) for steps, calls in sorted(spent.items())}


def _check(
    rows: list[Row],
    max_steps: int,
    max_corrections: int,
    retry_temperature: float,
    max_calls: int | None,
    max_tokens: int | None,
) -> None:
    if not rows:
        raise ValueError("there are no items to solve")
    if max_steps < 1 or max_corrections < 0:
        raise ValueError(f"max_steps={max_steps} and max_corrections={max_corrections}: give 1 or more and 0 or more")
    if retry_temperature <= 0:
        raise ValueError(f"retry_temperature={retry_temperature} would repeat the error that is to be corrected: give 0.7 or so")
    for name, most in (("max_calls", max_calls), ("max_tokens", max_tokens)):
        if most is not None and most < 1:
            raise ValueError(f"{name}={most} leaves nothing to ask with: give 1 or more, or null")


def _validator(name: str, question: Question) -> Validator:
    if name == "auto":
        name = "program" if question.asked.form.kind == "number" else "consistency"
    return VALIDATORS[name]


def _row(row: Row, solution: Solution, is_right: bool, model: str) -> Row:
    steps = [step for one in solution.passes for step in one.steps]
    first = solution.passes[0].verdict if solution.passes else None
    return {
        **score_row(row, model, "accuracy"),
        "numerator": float(is_right),
        "denominator": 1.0,
        "found": solution.answer,
        "parsed": bool(solution.answer),
        "stop": solution.stop,
        "difficulty": solution.passes[0].understanding.num_steps if solution.passes else 0,
        "calls": solution.calls,
        "solver_calls": solution.solver_calls,
        "num_tokens": solution.tokens,
        "answers": [one.answer for one in solution.passes],
        "first_wrong": first is not None and first.kind == "wrong",
        "missing": [fact for one in solution.passes[:1] for fact in one.understanding.missing],
        "steps": [f"{step.parsed.text} Result: {step.parsed.result}" for step in steps],
        "trace": trace(solution),
        "transcript": [f"{_text(prompt)}\n>>> {reply}" for prompt, reply in solution.transcript],
        "failure": solution.failure,
    }


def trace(solution: Solution) -> list[str]:
    """A line for each step and each verdict on a whole: where a chain broke."""
    lines = []
    for number, one in enumerate(solution.passes, 1):
        for place, step in enumerate(one.steps, 1):
            reason = f": {step.reason}" if step.reason else ""
            lines.append(
                f"pass {number} step {place} {step.family}, {step.attempts} attempts, {step.verified}{reason} -> {step.parsed.result}"
            )
        if one.verdict is not None:
            reason = f": {one.verdict.reason}" if one.verdict.reason else ""
            lines.append(f"pass {number} answer {one.answer!r} {one.verdict.kind}{reason}")
    return lines


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)


def _calibrate(rows: list[Row], solutions: list[Solution], compare: Compare) -> None:
    checked = [
        (row["answer"], solution.passes[0].answer, solution.passes[0].verdict.kind == "wrong")
        for row, solution in zip(rows, solutions, strict=True)
        if row["answer"] and solution.passes and solution.passes[0].verdict is not None
    ]
    if len(checked) < LEAST_CALIBRATION:
        return
    is_right = right([(expected, found) for expected, found, _ in checked], compare)
    recall, false_alarm = validator_rates([refused for _, _, refused in checked], is_right)
    if recall is not None and false_alarm is not None and recall - false_alarm < LEAST_ADVANTAGE:
        logger.warning(
            "the validator refuses %.0f%% of wrong first answers and %.0f%% of right ones (%d items): too close for corrections to pay",
            100 * recall, 100 * false_alarm, len(checked),
        )  # fmt: skip
