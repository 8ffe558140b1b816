"""Prompt a large model, or tune a small one? Advice from facts, its cost, and a check on the user's own rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Literal

from metier.artifacts import Examples
from metier.evaluate.practical_guide.costs import Costs
from metier.evaluate.practical_guide.flow import FLOW, Leaf, Node, best_question, check_flow, path, shares, turning_points
from metier.evaluate.practical_guide.results import Advice, Check, TaskFacts
from metier.method import method
from metier.models.language_model import LanguageModel

logger = logging.getLogger(__name__)

SHORT_LATENCY_MS, VOLUME = 100.0, 100_000.0  # below and from which, together, a large model is too slow


@method(
    paper="Harnessing the Power of LLMs in Practice: A Survey on ChatGPT and Beyond, arXiv 2304.13712",
    claim="advises exactly as the authors' flow does, and says where the user's own rows disagree",
)
def practical_guide(
    examples: Examples | None = None,
    prompted: LanguageModel | None = None,
    *,
    facts: TaskFacts,
    costs: Costs | None = None,
    few_labels: int = 100,
    unknown: Literal["enumerate", "assume false"] = "enumerate",
    flow: list[Node] | None = None,
    specialise: bool = False,
    shots: tuple[int, ...] = (0, 4),
    shift: str | None = None,
    seed: int = 0,
) -> Advice:
    """The advice: prompt (a large model, untrained), tune (a smaller one, on labels), test both, or specialise (tune, then prompt).

    The authors' flow decides where the known facts do; else all assignments of the unknown ones are counted, and the question is
    named whose answer settles most. Hard constraints overrule: texts that may not leave without a machine for a large model,
    answers within 100 ms at 100,000 requests a month, and fewer requests than tuning pays for. The thresholds are ours; the survey
    gives none.
    examples (prompt a text, completion its label) are the check: half is learnt from, half tested on. The tuned model is a logistic
    regression on words and pairs of words, a floor for tuned models; prompted labels are compared by log-probability a byte, so
    that no answer is unparsable, and the number of examples shown is chosen on rows learnt from. `prompted` should be the large
    model meant: what a small one shows is the mechanism, not the survey's claim. Needs scikit-learn for the check.
    Raises ValueError for facts that contradict each other, and for a flow that is no table of questions. Rows that cannot check
    anything do not stop the advice: `check_refused` says why.
    Settings:
        facts: what is known of the task, such as {generates: false, num_labelled: 900, num_classes: 3}; the rest is unknown
        costs: prices and volume in one currency, per million tokens; null leaves the cost out
        few_labels: labels a class below which they are few; ours, the survey gives no number
        unknown: enumerate counts all assignments of unknown facts; "assume false" takes them for false
        flow: a table of nodes {fact, question, yes, no} of your own instead of the authors'; null for theirs
        specialise: whether a third road, tuning an open model to prompt it, may be advised; ours, not in the survey
        shots: numbers of examples shown to the prompted model in the check
        shift: column that says where a row comes from (source, year), to test learning from one and use on others
    """
    nodes = tuple(flow) if flow is not None else FLOW
    check_flow(nodes)
    if few_labels < 1 or not shots or min(shots) < 0:
        raise ValueError(f"few_labels={few_labels}, shots={shots}: the first must be 1 or more, the others 0 or more")
    facts = _derived(facts, few_labels)
    answers: dict[str, bool | None] = {
        node.fact: False if (answer := getattr(facts, node.fact, None)) is None and unknown == "assume false" else answer
        for node in nodes
    }
    _check_facts(answers, nodes)
    leaves = shares(answers, nodes)
    decided: Leaf | None = next(iter(leaves)) if len(leaves) == 1 else None
    overruled, notes = _overruled(decided, facts, costs), _notes(facts, costs)
    recommendation = overruled[-1][0] if overruled else decided
    if specialise and _third_road(recommendation, facts, costs, few_labels):
        recommendation = "specialise"
        notes.append(
            "specialise is metier's own leaf: text is to be written, labels are many, and the volume is above the break-even"
        )
    asked = best_question(answers, nodes)
    checked, refused = _checked(examples, prompted, facts, recommendation, shots, shift, seed)
    return Advice(
        recommendation=recommendation,
        leaves=leaves,
        confidence=max(leaves.values()),
        path=path(answers, nodes),
        question=asked.question if asked is not None else None,
        overruled=[reason for _, reason in overruled],
        break_even=costs.break_even if costs is not None and math.isfinite(costs.break_even) else None,
        would_change=turning_points(answers, nodes),
        notes=notes,
        check=checked,
        check_refused=refused,
    )


def _derived(facts: TaskFacts, few_labels: int) -> TaskFacts:
    """The facts with few_labels worked out from the numbers. Raises ValueError where the two contradict each other."""
    for name in ("num_labelled", "num_classes", "latency_ms", "requests_per_month"):
        value = getattr(facts, name)
        if value is not None and (value < 0 or (name == "num_classes" and value < 2)):
            raise ValueError(f"facts: {name}={value} cannot be: give a number of 0 or more, and of two classes or more")
    if facts.num_labelled is None or facts.num_classes is None:
        return facts
    few = facts.num_labelled < few_labels * facts.num_classes
    if facts.few_labels is not None and facts.few_labels != few:
        raise ValueError(
            f"facts: few_labels={facts.few_labels} contradicts num_labelled={facts.num_labelled} for "
            f"num_classes={facts.num_classes}: few is below {few_labels} a class (setting few_labels); correct one of them"
        )
    return replace(facts, few_labels=few)


def _check_facts(answers: Mapping[str, bool | None], nodes: tuple[Node, ...]) -> None:
    foreign = [node.fact for node in nodes if node.fact not in asdict(TaskFacts())]
    if foreign:
        raise ValueError(f"flow: {foreign} are no facts of a task; known are {sorted(asdict(TaskFacts()))}")
    wrong = {fact: answer for fact, answer in answers.items() if answer is not None and not isinstance(answer, bool)}
    if wrong:
        raise ValueError(f"flow: the facts {wrong} are no questions of yes and no")


def _overruled(decided: Leaf | None, facts: TaskFacts, costs: Costs | None) -> list[tuple[Leaf, str]]:
    """What constraints make of the flow's answer, with the reason, for those that change it."""
    found: list[tuple[Leaf, str]] = []
    if facts.data_may_leave is False and facts.local_gpu is False:
        found.append(("tune", "texts may not leave, and no machine for a large model is at hand: a small model"))
    volume = facts.requests_per_month
    if facts.latency_ms is not None and facts.latency_ms < SHORT_LATENCY_MS and volume is not None and volume >= VOLUME:
        found.append(("tune", f"{facts.latency_ms:g} ms at {volume:g} requests a month: a small or distilled model"))
    if not found and decided == "tune" and costs is not None and costs.volume < costs.break_even:
        takes = f"which takes {costs.break_even:,.0f}" if math.isfinite(costs.break_even) else "and no number does"
        found.append(("prompt", f"{costs.volume:,.0f} requests do not pay for tuning, {takes}"))
    return [(leaf, reason) for leaf, reason in found if leaf != decided]


def _notes(facts: TaskFacts, costs: Costs | None) -> list[str]:
    found = []
    if facts.safety_critical and facts.biased_labels:
        found.append(
            "wrong answers do harm and the labels are biased: keep a person in the decision, and look at the check for shortcuts"
        )
    if costs is not None and math.isinf(costs.break_even):
        found.append("a tuned request costs as much as a prompted one or more, so tuning never pays back")
    if costs is not None and facts.requests_per_month is not None and facts.requests_per_month != costs.requests:
        raise ValueError(
            f"facts: requests_per_month={facts.requests_per_month:g} and costs: requests={costs.requests:g} contradict each other: "
            "correct one"
        )
    return found


def _third_road(recommendation: Leaf | None, facts: TaskFacts, costs: Costs | None, few_labels: int) -> bool:
    many = facts.num_labelled is not None and facts.num_labelled >= few_labels
    return recommendation == "prompt" and bool(facts.generates) and many and costs is not None and costs.volume > costs.break_even


def _checked(
    examples: Examples | None,
    prompted: LanguageModel | None,
    facts: TaskFacts,
    recommendation: Leaf | None,
    shots: tuple[int, ...],
    shift: str | None,
    seed: int,
) -> tuple[Check | None, str | None]:
    if examples is None:
        return None, None
    from metier.evaluate.practical_guide.check import UnusableRowsError, check

    try:
        return check(list(examples.rows()), prompted, facts, recommendation, shots=shots, shift=shift, seed=seed), None
    except UnusableRowsError as refused:
        logger.warning("the advice is not checked on the examples: %s", refused)
        return None, str(refused)
