"""What the controller of adaptive prompting asks, and how its answers are read.

The wording is ours: the paper's prompts are not published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from metier.engines.answers.arithmetic import equations
from metier.models.language_model import Prompt

Family = Literal["direct", "stepwise", "decompose"]
FAMILIES: tuple[Family, ...] = ("direct", "stepwise", "decompose")
STOP = ("\n\n", "\nQuestion:", "\nQ:")

_ROLE = "You solve problems carefully, one small step at a time."
_INSTRUCTIONS: dict[Family, str] = {
    "direct": "Solve the question in one step and give the answer.",
    "stepwise": "Do exactly the next step and no more.",
    "decompose": "Find the next smaller question that has to be answered first, and answer only that.",
}
_LINE = re.compile(r"^\W*(step|result|answer|final answer)\b[^:\n]{0,20}:[ \t]*(.*)$", re.IGNORECASE)
MOST_FACTS = 12


@dataclass(frozen=True)
class Understanding:
    """What the first call found: facts and missing ones as sentences, and the number of steps it expects."""

    num_steps: int
    facts: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    parsed: bool = True


class Parsed(NamedTuple):
    """A step as it was read: its words, its intermediate result, and the final answer where it states one ("" where not)."""

    text: str
    result: str
    answer: str


def understand_prompt(question: str, reason: str, *, chat: bool) -> Prompt:
    """Asks for facts, missing facts and the number of steps, as JSON. `reason`: why an earlier solution was refused, or ""."""
    again = f"An earlier solution was wrong: {reason}\n" if reason else ""
    text = (
        f"{_ROLE}\nQuestion: {question}\n{again}Say what is given before solving anything. Reply with one JSON object with the "
        'keys "facts" (list of short sentences: quantities, relations, constraints), "missing" (list of facts that are needed and '
        'not given) and "steps" (how many steps the solution needs, a whole number).'
    )
    return _prompt(text, "JSON:", chat=chat)


def read_understanding(text: str, *, max_steps: int) -> Understanding:
    """The first JSON object in a reply; three steps and no facts where there is none (unparsed)."""
    start = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else (None, 0)
    except (ValueError, RecursionError):
        found = None
    steps = found.get("steps") if isinstance(found, dict) else None
    if not isinstance(found, dict) or isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        return Understanding(min(3, max_steps), parsed=False)
    return Understanding(min(steps, max_steps), _sentences(found.get("facts")), _sentences(found.get("missing")))


def family_of(num_steps: int) -> Family:
    """One step: direct; two to four: stepwise; more: decompose. The thresholds are ours."""
    return "direct" if num_steps == 1 else "stepwise" if num_steps <= 4 else "decompose"


def finer(family: Family) -> Family:
    """The next family with smaller steps; the last one stays."""
    return FAMILIES[min(FAMILIES.index(family) + 1, len(FAMILIES) - 1)]


def step_prompt(
    question: str,
    facts: Sequence[str],
    accepted: Sequence[str],
    family: Family,
    *,
    wanted: str,
    last: bool,
    failed: str = "",
    reason: str = "",
    chat: bool,
) -> Prompt:
    """Asks for the next step after those accepted.

    wanted: what an answer looks like; last: whether this step should end the solution; failed, reason: the attempt at this step
    that was refused, and why
    """
    parts = [_ROLE, f"Question: {question}"]
    if facts:
        parts += ["Facts:", *(f"- {fact}" for fact in facts)]
    if accepted:
        parts += ["Steps so far:", *(f"{number}. {step}" for number, step in enumerate(accepted, 1))]
    if failed:
        parts.append(f"An attempt at this step was wrong: {failed}\nBecause: {reason}\nDo this step again, from the facts.")
    parts.append(_INSTRUCTIONS[family])
    parts.append(
        'Reply in lines. "Step:" and what you do, with its equation. "Result:" and the value of this step. '
        + (
            f'"Answer:" and the final answer ({wanted}).'
            if last
            else f'Only if the question is solved now, "Answer:" and the answer ({wanted}).'
        )
    )
    return _prompt("\n".join(parts), "Step:", chat=chat)


def repair_prompt(text: str, *, chat: bool) -> Prompt:
    """Asks for a step again in the form that can be read."""
    return _prompt(f'Write this again in two lines, "Step:" and "Result:", and nothing else.\n{text.strip()}', "Step:", chat=chat)


def read_step(text: str) -> Parsed | None:
    """The first step of a reply; None where it has neither a result, an answer nor an equation to take the result from.

    Later steps are not read: they were not asked for.
    """
    words: list[str] = []
    result = answer = ""
    for number, line in enumerate(text.strip().splitlines()):
        match = _LINE.match(line)
        kind = match[1].lower() if match is not None else ""
        content = (match[2] if match is not None else line).strip(" \t*_")
        if kind == "step" and number and (words or result):
            break
        if kind == "result":
            result = result or content
        elif kind.endswith("answer"):
            answer = answer or content
        elif not result and not answer and content:
            words.append(content)
    text = " ".join(words)
    if not result and not answer:
        found = equations(text)
        result = found[-1].text.split(" = ")[-1].split(" ≈ ")[-1].replace(" ", "") if found else ""
    return Parsed(text, result or answer, answer) if result or answer else None


def normalised(text: str) -> str:
    """A text without case, punctuation and runs of space, to find repetitions."""
    return " ".join(re.findall(r"[0-9]+(?:\.[0-9]+)?|\w+|[-+*/=%]", text.casefold()))


def _prompt(text: str, begun: str, *, chat: bool) -> Prompt:
    return [{"role": "user", "content": text}] if chat else f"{text}\n{begun}"


def _sentences(value: object) -> list[str]:
    return (
        [" ".join(str(one).split())[:200] for one in value if isinstance(one, str | int | float)][:MOST_FACTS]
        if isinstance(value, list)
        else []
    )
