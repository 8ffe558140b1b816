"""The controller of adaptive prompting: understand, solve a step, validate it, correct it, finish; a generator of requests.

It never sees a reference: what it is given is a question. Questions run side by side, so that each round of calls is one batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

from metier.engines.answers.extract import extract
from metier.infer.reasoning_sets import ReasoningSet
from metier.infer.step_prompts import (
    STOP,
    Family,
    Parsed,
    Understanding,
    family_of,
    finer,
    normalised,
    read_step,
    read_understanding,
    repair_prompt,
    step_prompt,
    understand_prompt,
)
from metier.infer.step_validators import Asking, Attempt, Request, Validator, Verdict, Whole, same_result, solve_plainly
from metier.infer.zero_shot_cot import TRIGGER, answer_prompt
from metier.models.language_model import Completion, LanguageModel, Prompt
from metier.progress import task

T = TypeVar("T")
Stop = Literal["answered", "budget", "loop", "unparsed", "failed"]
UNDERSTANDING_TOKENS = 192


class Question(NamedTuple):
    """All that a controller is told of an item."""

    text: str
    chat: bool
    asked: ReasoningSet


class Settings(NamedTuple):
    """See `adaptive_prompting`. max_calls: None for 4 + 3 a step expected."""

    max_steps: int = 8
    max_corrections: int = 2
    retry_temperature: float = 0.7
    max_calls: int | None = None
    max_tokens: int | None = None
    max_step_tokens: int = 96
    strict: bool = False
    seed: int = 0


@dataclass
class Step:
    """An accepted step. `attempts` counts those at it; `verified` is ok, unsure, or unverified (refused to the last)."""

    parsed: Parsed
    family: Family
    verified: Literal["ok", "unsure", "unverified"]
    reason: str
    attempts: int


@dataclass
class Pass:
    """One way through a question: its steps, the answer, the verdict on the whole (None where none was asked), why it ended."""

    understanding: Understanding
    steps: list[Step] = field(default_factory=list)
    answer: str = ""
    verdict: Verdict | None = None
    looped: bool = False


@dataclass
class Solution:
    """What became of a question: the answer, the passes (two after a restart), what was spent, and why it ended.

    solver_calls: calls for steps, the closed form's unit; transcript: each call's prompt and reply, in order
    """

    answer: str = ""
    stop: Stop = "answered"
    passes: list[Pass] = field(default_factory=list)
    calls: int = 0
    solver_calls: int = 0
    tokens: int = 0
    failure: str | None = None
    transcript: list[tuple[Prompt, str]] = field(default_factory=list)


def solve_all(
    questions: Sequence[Question], model: LanguageModel, validators: Sequence[Validator], settings: Settings
) -> list[Solution]:
    """A solution for each question, in order. Each round asks the model once for every kind of request that is waiting."""
    controllers = [Controller(*pair, settings).run() for pair in zip(questions, validators, strict=True)]
    waiting = {place: next(one) for place, one in enumerate(controllers)}
    found: dict[int, Solution] = {}
    with task("solving", total=len(controllers), unit="question") as progress:
        while waiting:
            for place, completion in _ask(model, waiting):
                try:
                    waiting[place] = controllers[place].send(completion)
                except StopIteration as end:
                    found[place] = end.value
                    del waiting[place]
                    progress.advance()
    return [found[place] for place in range(len(controllers))]


def _ask(model: LanguageModel, waiting: dict[int, Request]) -> list[tuple[int, Completion]]:
    groups: dict[tuple[int, float, int, tuple[str, ...]], list[int]] = defaultdict(list)
    for place, one in waiting.items():
        groups[one.max_new_tokens, one.temperature, one.seed, one.stop].append(place)
    answers: list[tuple[int, Completion]] = []
    for (max_new_tokens, temperature, seed, stop), places in groups.items():
        prompts = [waiting[place].prompt for place in places]
        found = model.generate(prompts, max_new_tokens=max_new_tokens, temperature=temperature, stop=stop, seed=seed)
        answers += zip(places, found, strict=True)
    return answers


class _StopError(Exception):
    """Ends the work on a question before it has its answer."""

    def __init__(self, stop: Stop, failure: str | None = None) -> None:
        super().__init__(stop)
        self.stop, self.failure = stop, failure


class Controller:
    """The work on one question; `run` asks by yielding requests. The first request is always the one for an understanding."""

    def __init__(self, question: Question, validator: Validator, settings: Settings) -> None:
        self.question, self.validator, self.settings = question, validator, settings
        self.solution = Solution()
        self.stop = () if question.chat else STOP  # a message ends by itself, and may hold blank lines
        self.max_calls = settings.max_calls if settings.max_calls is not None else 4 + 3 * settings.max_steps

    def run(self) -> Asking[Solution]:
        """understand, solve and validate step by step, finish; once more where the whole is refused."""
        try:
            yield from self._pass("")
            refused = self.solution.passes[0].verdict
            if refused is not None and refused.kind == "wrong":
                yield from self._pass(refused.reason)
        except _StopError as end:
            self.solution.stop, self.solution.failure = end.stop, end.failure
            if end.stop == "unparsed":
                yield from self._fall_back()
        self.solution.answer = self.solution.answer or self._best()
        return self.solution

    def _pass(self, reason: str) -> Asking[None]:
        prompt = understand_prompt(self.question.text, reason, chat=self.question.chat)
        reply = yield from self._call(Request(prompt, UNDERSTANDING_TOKENS, stop=self.stop))
        understood = read_understanding(reply.text, max_steps=self.settings.max_steps)
        if self.settings.max_calls is None and not reason:
            self.max_calls = 4 + 3 * understood.num_steps
        one = Pass(understood)
        self.solution.passes.append(one)
        family = family_of(understood.num_steps)
        while len(one.steps) < self.settings.max_steps and not one.answer and not one.looped:
            family = yield from self._step(one, family)
        if not one.answer:
            one.answer = yield from self._extract(one)
        steps = [step.parsed for step in one.steps]
        whole = Whole(self.question.text, self.question.chat, self.question.asked, steps, one.answer, self.settings.seed)
        one.verdict = yield from self._counted(self.validator.whole(whole))
        self.solution.stop = "loop" if one.looped else "answered"

    def _step(self, one: Pass, family: Family) -> Asking[Family]:
        """Adds a step to the pass; the family for the next one."""
        failed: list[Parsed] = []
        verdict = Verdict("unsure")
        for attempt in range(self.settings.max_corrections + 1):
            used = family
            request = self._request(one, used, attempt, failed[-1].text if failed else "", verdict.reason)
            parsed = yield from self._solve(request)
            repeats = self._repeats(one, parsed)
            if repeats:
                verdict = Verdict("wrong", f"it repeats step {repeats}")
            else:
                seen = Attempt(*self.question, request, parsed, self.settings.retry_temperature, self.settings.seed)
                verdict = yield from self._counted(self.validator.step(seen))
            if verdict.kind != "wrong":
                break
            if attempt:
                family = finer(family)
            failed.append(parsed)
            if _alternates(failed):
                break
        one.looped = bool(repeats)
        if not repeats:
            verified = "unverified" if verdict.kind == "wrong" else verdict.kind
            one.steps.append(Step(parsed, used, verified, verdict.reason, attempt + 1))
            one.answer = extract(parsed.answer, self.question.asked.form, strict=self.settings.strict)
        return family

    def _request(self, one: Pass, family: Family, attempt: int, failed: str, reason: str) -> Request:
        prompt = step_prompt(
            self.question.text,
            one.understanding.facts,
            [_shown(step.parsed) for step in one.steps],
            family,
            wanted=self.question.asked.sentence.removeprefix("the ").removesuffix(" is"),
            last=len(one.steps) + 1 >= one.understanding.num_steps,
            failed=failed,
            reason=reason,
            chat=self.question.chat,
        )
        temperature = self.settings.retry_temperature if attempt else 0.0
        return Request(prompt, self.settings.max_step_tokens, temperature, self.settings.seed + attempt, self.stop, solver=True)

    def _solve(self, request: Request) -> Asking[Parsed]:
        """A step that can be read, after one prompt for repair where it can't be."""
        reply = yield from self._call(request)
        parsed = read_step(reply.text)
        if parsed is None:
            repair = repair_prompt(reply.text, chat=self.question.chat)
            reply = yield from self._call(Request(repair, self.settings.max_step_tokens, stop=self.stop))
            parsed = read_step(reply.text)
        if parsed is None:
            raise _StopError("unparsed")
        return parsed

    def _repeats(self, one: Pass, parsed: Parsed) -> int:
        """The number of the accepted step that this one is equal to; 0 for none."""
        text = normalised(_shown(parsed))
        return next((number for number, step in enumerate(one.steps, 1) if normalised(_shown(step.parsed)) == text), 0)

    def _extract(self, one: Pass) -> Asking[str]:
        """The answer asked for after the steps, as zero-shot chain of thought does after its reasoning."""
        steps = "\n".join(_shown(step.parsed) for step in one.steps)
        question, chat, asked = self.question
        reply = yield from self._call(Request(answer_prompt(question, asked, TRIGGER, f"\n{steps}", chat=chat), 32))
        return extract(reply.text, asked.form, strict=self.settings.strict)

    def _fall_back(self) -> Asking[None]:
        question, chat, asked = self.question
        try:
            self.solution.answer = yield from self._counted(solve_plainly(question, asked, chat=chat))
        except _StopError as end:
            self.solution.failure = end.failure

    def _best(self) -> str:
        """The answer of the pass whose whole was not refused, else of the one with more validated steps, the later of equals;
        without an answer, the last result."""
        passes = [one for one in self.solution.passes if one.answer]
        if passes:
            return max(reversed(passes), key=_standing).answer
        results = [step.parsed.result for one in self.solution.passes for step in one.steps]
        return extract(results[-1], self.question.asked.form, strict=self.settings.strict) if results else ""

    def _counted(self, asking: Asking[T]) -> Asking[T]:
        """What a validator asks, within the budget."""
        try:
            request = next(asking)
            while True:
                reply = yield from self._call(request)
                request = asking.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _call(self, request: Request) -> Asking[Completion]:
        spent = self.solution
        if spent.calls >= self.max_calls or (self.settings.max_tokens is not None and spent.tokens >= self.settings.max_tokens):
            raise _StopError("budget")
        reply = yield request
        spent.calls += 1
        spent.solver_calls += request.solver
        spent.tokens += reply.num_tokens
        spent.transcript.append((request.prompt, reply.text))
        if reply.error is not None:
            raise _StopError("failed", reply.error)
        return reply


def _alternates(failed: list[Parsed]) -> bool:
    """Whether the last refused results are A, B, A."""
    if len(failed) < 3:
        return False
    first, second, third = (one.result for one in failed[-3:])
    return same_result(first, third) and not same_result(first, second)


def _standing(one: Pass) -> tuple[bool, int]:
    accepted = one.verdict is not None and one.verdict.kind != "wrong"
    return accepted, sum(step.verified == "ok" for step in one.steps)


def _shown(parsed: Parsed) -> str:
    return f"{parsed.text} Result: {parsed.result}".strip()
