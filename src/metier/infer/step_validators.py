"""Is a step right? Three ways to tell that know no reference: exact arithmetic, more samples, a second derivation."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from metier.engines.answers.arithmetic import Equation, equations, value_of
from metier.engines.answers.extract import Form, extract
from metier.infer.reasoning_sets import ReasoningSet
from metier.infer.step_prompts import Parsed, normalised, read_step
from metier.infer.zero_shot_cot import TRIGGER, answer_prompt, reasoning_prompt
from metier.models.language_model import Completion, Prompt

T = TypeVar("T")
VALUE_TOKENS = 24


class Request(NamedTuple):
    """A call that a controller wants made. `solver`: whether it is one for a step, which the closed form counts."""

    prompt: Prompt
    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    solver: bool = False


Asking: TypeAlias = Generator[Request, Completion, T]  # asks by yielding requests, is sent completions, returns a T


class Verdict(NamedTuple):
    """ok, wrong or unsure, and why. `unsure` is accepted, and recorded as such."""

    kind: Literal["ok", "wrong", "unsure"]
    reason: str = ""


class Attempt(NamedTuple):
    """What a validator sees of a step: the question, the request that it answers, the results accepted before, what was read, and
    the room."""

    question: str
    chat: bool
    asked: ReasoningSet
    request: Request
    step: Parsed
    retry_temperature: float
    seed: int


class Whole(NamedTuple):
    """What a validator sees of a whole solution: the question, its steps, the answer, and whether all steps were validated."""

    question: str
    chat: bool
    asked: ReasoningSet
    steps: Sequence[Parsed]
    answer: str
    seed: int


class Validator(NamedTuple):
    """A way to judge a step, and one to judge a solution whole."""

    step: Callable[[Attempt], Asking[Verdict]]
    whole: Callable[[Whole], Asking[Verdict]]


def by_program(attempt: Attempt) -> Asking[Verdict]:
    """Every equation computed again, exactly; then the result against the last equation. Unsure where there is no equation."""
    yield from ()
    return judge_arithmetic(attempt.step)


def judge_arithmetic(step: Parsed) -> Verdict:
    """What exact arithmetic says of a step."""
    found = equations(f"{step.text}\n{step.result}")
    for equation in found:
        if not equation.holds:
            return Verdict("wrong", f"{_left(equation)} is {_plain(equation)}, so {equation.text} is false")
    if not found:
        return Verdict("unsure", "no equation to compute")
    stated, last = value_of(_number(step.result)), found[-1].right
    if stated is not None and all(stated not in (one.left, one.right) for one in found):
        return Verdict("wrong", f"the result {step.result} is not the value of {found[-1].text}, which is {last}")
    return Verdict("ok")


def whole_by_program(whole: Whole) -> Asking[Verdict]:
    """The answer must be one of the options, all equations must hold, and a number must be the result of some step."""
    yield from ()
    form = whole.asked.form
    if not whole.answer:
        return Verdict("wrong", "there is no answer")
    if form.kind == "letter" and whole.answer not in form.letters:
        return Verdict("wrong", f"{whole.answer} is none of the options {', '.join(form.letters)}")
    for number, step in enumerate(whole.steps, 1):
        verdict = judge_arithmetic(step)
        if verdict.kind == "wrong":
            return Verdict("wrong", f"in step {number}, {verdict.reason}")
    results = [value_of(_number(step.result)) for step in whole.steps]
    value = value_of(whole.answer)
    if form.kind != "number" or value is None or not any(result is not None for result in results):
        return Verdict("unsure", "no numbers to compare")
    return Verdict("ok") if value in results else Verdict("wrong", f"the answer {whole.answer} is the result of no step")


def by_consistency(attempt: Attempt) -> Asking[Verdict]:
    """The step sampled twice more: ok where one agrees, wrong where both agree on another result, unsure where all differ."""
    results = []
    for number in (1, 2):
        again = attempt.request._replace(temperature=attempt.retry_temperature, seed=attempt.seed + 100 * number, solver=False)
        parsed = read_step((yield again).text)
        results.append(parsed.result if parsed is not None else "")
    if any(result and same_result(result, attempt.step.result) for result in results):
        return Verdict("ok")
    if results[0] and same_result(*results):
        return Verdict("wrong", f"two other attempts found {results[0]}, not {attempt.step.result}")
    return Verdict("unsure", "no two attempts agree")


def by_model(attempt: Attempt) -> Asking[Verdict]:
    """The model works out the value again in a fresh context, without the solver's words; results are compared, not opinions."""
    found = equations(attempt.step.text)
    if not found:
        return Verdict("unsure", "no value to derive again")
    text = f"Compute this exactly and reply with the value alone.\n{_left(found[-1])} ="
    prompt: Prompt = [{"role": "user", "content": text}] if attempt.chat else text
    reply = yield Request(prompt, VALUE_TOKENS, stop=("\n",))
    value = extract(reply.text, Form("number"), strict=True)
    if not value:
        return Verdict("unsure", "the second derivation has no value")
    if same_result(value, attempt.step.result):
        return Verdict("ok")
    return Verdict("wrong", f"a second derivation of {_left(found[-1])} gives {value}, not {attempt.step.result}")


def whole_by_model(whole: Whole) -> Asking[Verdict]:
    """The question solved anew by zero-shot chain of thought, in a fresh context; answers are compared."""
    if not whole.answer:
        return Verdict("wrong", "there is no answer")
    answer = yield from solve_plainly(whole.question, whole.asked, chat=whole.chat)
    if not answer:
        return Verdict("unsure", "the second solution has no answer")
    return (
        Verdict("ok")
        if same_result(answer, whole.answer)
        else Verdict("wrong", f"a second solution found {answer}, not {whole.answer}")
    )


def solve_plainly(question: str, asked: ReasoningSet, *, chat: bool) -> Asking[str]:
    """The answer by zero-shot chain of thought (two calls, with the paper's limits)."""
    thought = yield Request(reasoning_prompt(question, TRIGGER, chat=chat), 128)
    reply = yield Request(answer_prompt(question, asked, TRIGGER, thought.text, chat=chat), 32)
    return extract(reply.text, asked.form)


VALIDATORS: dict[str, Validator] = {
    "program": Validator(by_program, whole_by_program),
    "consistency": Validator(by_consistency, whole_by_model),
    "model": Validator(by_model, whole_by_model),
}


def same_result(first: str, second: str) -> bool:
    """Equal numbers, or equal words."""
    values = value_of(_number(first)), value_of(_number(second))
    return values[0] == values[1] if None not in values else normalised(first) == normalised(second)


def _number(result: str) -> str:
    """The number in a result with a unit ("19 apples", "$19."), or the result as it is."""
    value = result.partition("=")[2] or result
    return extract(value, Form("number"), strict=True) or result


def _left(equation: Equation) -> str:
    return equation.text.partition(" = ")[0].partition(" ≈ ")[0]


def _plain(equation: Equation) -> str:
    value = equation.left
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"
