"""One sentence that makes a model reason, a second call that asks for the answer, and rules that find it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from metier.artifacts import Items, Scores
from metier.artifacts.scores import score_row
from metier.engines.answers.arithmetic import value_of
from metier.engines.answers.equal import same_values
from metier.engines.answers.extract import extract
from metier.engines.generate.failures import check_failures
from metier.infer.reasoning_sets import ReasoningSet, reasoning_set
from metier.method import method
from metier.models.language_model import LanguageModel, Prompt

logger = logging.getLogger(__name__)

Compare = Literal["paper", "numeric", "strict"]
Row = dict[str, Any]
TRIGGER = "Let's think step by step."


class Sample(NamedTuple):
    """One chain: the reasoning ("" without a trigger), the completion with the answer, the answer found in it.

    cut: whether the reasoning ended at its limit; failure: why there is nothing to read; num_tokens: written in both calls
    """

    reasoning: str
    completion: str = ""
    answer: str = ""
    cut: bool = False
    failure: str | None = None
    num_tokens: int = 0


class Summary(NamedTuple):
    """A task's shares of its questions: numbers that belong together, since a gap in accuracy may be one of unparsed answers.

    accuracy: right, by all; accuracy_numeric: the same once numbers are compared by value; accuracy_parsed: right, by those with
    an answer (None where there is none); unparsed: without an answer, by all; cut: with reasoning that ended at its limit, by all
    """

    num_items: int
    accuracy: float
    accuracy_numeric: float
    accuracy_parsed: float | None
    unparsed: float
    cut: float


@method(
    paper="Large Language Models are Zero-Shot Reasoners, arXiv 2205.11916",
    claim="scores reasoning exactly as its authors' logs do, and says how much of a gap is unparsed answers",
)
def zero_shot_cot(
    items: Items,
    model: LanguageModel,
    *,
    answers_like: str | None = None,
    trigger: str | None = TRIGGER,
    compare: Compare = "paper",
    extraction: Literal["generate", "score"] = "generate",
    max_reasoning_tokens: int = 128,
    max_answer_tokens: int = 32,
    num_samples: int = 1,
    temperature: float = 0.0,
    stop: list[str] | None = None,
    seed: int = 0,
) -> Scores:
    """One row an item: right or wrong, with the reasoning, the completion and the answer that was found in it ("" is wrong).

    Two calls: `Q: question`, `A: trigger` is continued; then the same, what was written, and "Therefore, the answer ... is". The
    answer is read in the second completion alone (engines/answers/extract.py). `summarise` gives accuracy, accuracy of the
    parsed, and the unparsed share. Items with `chat` are asked in turns, as a message can't be begun for the model: `comparable`
    is then false, as numbers don't compare with the paper's. Columns besides those of every metric: reasonings, completions,
    answers (one a sample), found (the commonest of them), parsed, cut, correct_numeric, comparable, failure, num_tokens. A failed
    call is wrong, and its row says why.
    Raises ValueError for settings that contradict each other, no items, and a set that is none of the twelve; RuntimeError when
    calls for more than 5% of the items fail.
    Settings:
        answers_like: the set whose sentence and rules to use, such as gsm8k; None for the one that each item's task names
        trigger: what the answer begins with; None for the paper's baseline, one call without reasoning
        compare: paper for equal text; numeric for equal numbers, found by the same rules; strict for mended rules and equal
            values, formulas too
        extraction: generate for the paper's second call; score to take the likeliest of a closed set (letters, yes or no), which
            is never unparsed
        max_reasoning_tokens: most tokens of reasoning; 128 in the paper's runs, which cut many chains
        max_answer_tokens: most tokens of the completion that holds the answer; 32 in the paper's runs
        num_samples: chains a question, whose commonest answer counts; 1 in the paper
        temperature: of the reasoning; 0 (the likeliest words) in the paper, above 0 for several samples
        stop: strings that end the reasoning, such as a line "Q:"; None as in the paper
    """
    rows = list(items.rows())
    _check(rows, trigger, num_samples, temperature, stop)
    sets = [reasoning_set(answers_like or row["task"]) for row in rows]
    if extraction == "score":
        _check_closed(rows, sets)
    samples: list[list[Sample]] = [[] for _ in rows]
    for number in range(num_samples):
        chains = [Sample("")] * len(rows)
        if trigger is not None:
            prompts = [reasoning_prompt(row["prompt"], trigger, chat=row["chat"]) for row in rows]
            chains = _reason(model, prompts, max_reasoning_tokens, temperature, stop or [], seed + number)
        asked = [
            answer_prompt(row["prompt"], one, trigger, chain.reasoning, chat=row["chat"])
            for row, one, chain in zip(rows, sets, chains, strict=True)
        ]
        if extraction == "score":
            found = _choose(model, chains, [str(prompt) for prompt in asked], sets)
        else:
            found = _read(model, chains, asked, sets, max_answer_tokens, strict=compare == "strict")
        for into, sample in zip(samples, found, strict=True):
            into.append(sample)
    return _scores(rows, samples, model.name, compare)


def summarise(scores: Scores) -> dict[str, Summary]:
    """The numbers of each task, by its name, in order of first appearance."""
    tasks: dict[str, list[Row]] = {}
    for row in scores.rows():
        tasks.setdefault(row["task"], []).append(row)
    return {name: _summary(rows) for name, rows in tasks.items()}


def reasoning_prompt(question: str, trigger: str, *, chat: bool) -> Prompt:
    """What the reasoning continues."""
    text = f"Q: {question}\nA: {trigger}"
    return [{"role": "user", "content": text}] if chat else text


def answer_prompt(question: str, asked: ReasoningSet, trigger: str | None, reasoning: str, *, chat: bool) -> Prompt:
    """What the answer continues; without a trigger, the baseline's only prompt."""
    if trigger is None:
        text = f"Q: {question}\nA: {asked.sentence[0].upper()}{asked.sentence[1:]}"
        return [{"role": "user", "content": text}] if chat else text
    begun, sentence = reasoning_prompt(question, trigger, chat=chat), f"Therefore, {asked.sentence}"
    if isinstance(begun, str):
        return f"{begun}{reasoning} \n{sentence}"
    return [*begun, {"role": "assistant", "content": reasoning}, {"role": "user", "content": sentence}]


def _check(rows: list[Row], trigger: str | None, num_samples: int, temperature: float, stop: list[str] | None) -> None:
    if not rows:
        raise ValueError("there are no items to ask")
    if trigger is not None and not trigger.strip():
        raise ValueError("trigger is empty: give a sentence to reason after, or null for the baseline without reasoning")
    if num_samples < 1:
        raise ValueError(f"num_samples={num_samples} asks nothing: give 1 or more")
    if num_samples > 1 and temperature == 0:
        raise ValueError(f"num_samples={num_samples} are all the same at temperature=0: give a temperature such as 0.7")
    if trigger is None and (num_samples > 1 or temperature > 0 or stop):
        raise ValueError(
            "num_samples, temperature and stop are of the reasoning, and without a trigger there is none: leave them out"
        )


def _check_closed(rows: list[Row], sets: list[ReasoningSet]) -> None:
    for row, one in zip(rows, sets, strict=True):
        if not one.form.options:
            raise ValueError(
                f"item {row['id']!r} has an open answer ({one.form.kind}), so there is no choice to score: take 'generate'"
            )
        if row["chat"]:
            raise ValueError(f"item {row['id']!r} is asked in turns, after which nothing can be scored: take 'generate'")


def _reason(
    model: LanguageModel, prompts: list[Prompt], max_tokens: int, temperature: float, stop: Sequence[str], seed: int
) -> list[Sample]:
    found = model.generate(prompts, max_new_tokens=max_tokens, temperature=temperature, stop=stop, seed=seed)
    return [Sample(one.text, cut=one.finish_reason == "length", failure=one.error, num_tokens=one.num_tokens) for one in found]


def _read(
    model: LanguageModel,
    chains: list[Sample],
    prompts: list[Prompt],
    sets: list[ReasoningSet],
    max_tokens: int,
    *,
    strict: bool,
) -> list[Sample]:
    wanted = [place for place, chain in enumerate(chains) if chain.failure is None]
    samples = list(chains)
    for place, one in zip(wanted, model.generate([prompts[place] for place in wanted], max_new_tokens=max_tokens), strict=True):
        samples[place] = chains[place]._replace(
            completion=one.text,
            answer=extract(one.text, sets[place].form, strict=strict),
            failure=one.error,
            num_tokens=chains[place].num_tokens + one.num_tokens,
        )
    return samples


def _choose(model: LanguageModel, chains: list[Sample], prompts: list[str], sets: list[ReasoningSet]) -> list[Sample]:
    """The likeliest option after the prompt; its log-probability is that of the whole option, a single word."""
    wanted = [place for place, chain in enumerate(chains) if chain.failure is None]
    requests = [(prompts[place], f" {option}") for place in wanted for option in sets[place].form.options]
    scores, samples = iter(model.score(requests)), list(chains)
    for place in wanted:
        options = sets[place].form.options
        best = max(zip([next(scores).logprob for _ in options], range(len(options)), strict=True), key=lambda found: found[0])[1]
        answer = options[best].lower() if sets[place].form.kind == "yes/no" else options[best]
        samples[place] = chains[place]._replace(completion=f" {options[best]}", answer=answer)
    return samples


def commonest(answers: Sequence[str]) -> str:
    """The answer given most often, the earliest of equals; an empty one only where all are."""
    counts = Counter(answer for answer in answers if answer)
    return counts.most_common(1)[0][0] if counts else ""


def right(pairs: Sequence[tuple[str, str]], compare: Compare) -> list[bool]:
    """For each (expected, found) whether it counts as right. An empty answer never does."""
    match compare:
        case "paper":
            return [bool(found) and expected == found for expected, found in pairs]
        case "numeric":
            return [bool(found) and (expected == found or _same_number(expected, found)) for expected, found in pairs]
        case "strict":
            return same_values(pairs)


def _same_number(expected: str, found: str) -> bool:
    """Equal as doubles: references such as 0.6666666666666666 are doubles written out."""
    first, second = value_of(expected), value_of(found)
    if first is None or second is None:
        return False
    try:
        return float(first) == float(second)
    except OverflowError:
        return first == second


def _scores(rows: list[Row], samples: list[list[Sample]], model: str, compare: Compare) -> Scores:
    failures = [next((sample.failure for sample in one if sample.failure is not None), None) for one in samples]
    check_failures(failures, "questions")
    pairs = [(row["answer"], commonest([sample.answer for sample in one])) for row, one in zip(rows, samples, strict=True)]
    verdicts = zip(right(pairs, compare), right(pairs, "numeric"), strict=True)
    return Scores.from_rows(
        {
            **score_row(row, model, "accuracy"),
            "numerator": float(is_right),
            "denominator": 1.0,
            "found": pair[1],
            "parsed": bool(pair[1]),
            "correct_numeric": is_right_numerically,
            "comparable": not row["chat"],
            "cut": any(sample.cut for sample in one),
            "reasonings": [sample.reasoning for sample in one],
            "completions": [sample.completion for sample in one],
            "answers": [sample.answer for sample in one],
            "failure": failure,
            "num_tokens": sum(sample.num_tokens for sample in one),
        }
        for row, one, pair, failure, (is_right, is_right_numerically) in zip(
            rows, samples, pairs, failures, verdicts, strict=True
        )
    )


def _summary(rows: list[Row]) -> Summary:
    parsed = [row for row in rows if row["parsed"]]
    return Summary(
        num_items=len(rows),
        accuracy=sum(row["numerator"] for row in rows) / len(rows),
        accuracy_numeric=sum(row["correct_numeric"] for row in rows) / len(rows),
        accuracy_parsed=sum(row["numerator"] for row in parsed) / len(parsed) if parsed else None,
        unparsed=1 - len(parsed) / len(rows),
        cut=sum(row["cut"] for row in rows) / len(rows),
    )
