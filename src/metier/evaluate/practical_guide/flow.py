"""The authors' decision flow as a table of questions, and what it says where some answers are unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

Leaf = Literal["prompt", "tune", "test both", "specialise"]
Facts = Mapping[str, bool | None]

LEAVES: tuple[Leaf, ...] = ("prompt", "tune", "test both", "specialise")


@dataclass(frozen=True)
class Node:
    """A question about the task. `yes` and `no`: a leaf, or the fact of another node."""

    fact: str
    question: str
    yes: str
    no: str


@dataclass(frozen=True)
class Test:
    """A question that was passed on the way, with its answer."""

    fact: str
    question: str
    answer: bool


FLOW: tuple[Node, ...] = (
    Node("mimics_human", "does it mimic a human, as a chatbot does?", "prompt", "needs_reasoning"),
    Node("needs_reasoning", "is it hard, needing emergent abilities such as reasoning?", "prompt", "several_tasks"),
    Node("several_tasks", "are several tasks to be done by one model?", "prompt", "far_from_language"),
    Node("far_from_language", "has it little to do with language modelling, as regression has?", "tune", "few_labels"),
    Node("few_labels", "are there only few labelled examples?", "prompt", "shifted"),
    Node("shifted", "will its data in use differ from the labelled examples?", "prompt", "generates"),
    Node("generates", "is creative or complex text or code to be written?", "prompt", "knowledge_intensive"),
    Node("knowledge_intensive", "does it need much knowledge?", "context_suffices", "tune"),
    Node("context_suffices", "does the context that is given hold enough knowledge?", "tune", "real_knowledge"),
    Node("real_knowledge", "does the knowledge it needs agree with the real world?", "prompt", "test both"),
)


def check_flow(flow: Sequence[Node]) -> None:
    """Raises ValueError for a flow that is no table of questions without circles, naming the fact."""
    if not flow:
        raise ValueError("the flow holds no question")
    by_fact = {node.fact: place for place, node in enumerate(flow)}
    if len(by_fact) != len(flow):
        raise ValueError(f"the flow asks a fact twice: {[node.fact for node in flow]}")
    for place, node in enumerate(flow):
        for target in (node.yes, node.no):
            if target not in LEAVES and by_fact.get(target, -1) <= place:
                raise ValueError(
                    f"flow, {node.fact!r}: {target!r} is no later question of the flow, and no leaf of {list(LEAVES)}"
                )


def shares(facts: Facts, flow: Sequence[Node] = FLOW) -> dict[Leaf, float]:
    """The share of all assignments of the unknown facts that ends in each leaf; leaves that none reaches are left out.

    Each question stands at most once on a way, so an unknown one halves what comes to it. Sums of powers of a half are exact.
    """
    arriving = dict.fromkeys((node.fact for node in flow), 0.0)
    arriving[flow[0].fact] = 1.0
    leaves: dict[Leaf, float] = {}
    for node in flow:
        answer, here = facts.get(node.fact), arriving[node.fact]
        for target, part in ((node.yes, answer is not False), (node.no, answer is not True)):
            share = here * part * (0.5 if answer is None else 1.0)
            if target in arriving:
                arriving[target] += share
            elif share:
                leaf = cast(Leaf, target)  # check_flow knows no other
                leaves[leaf] = leaves.get(leaf, 0.0) + share
    return leaves


def path(facts: Facts, flow: Sequence[Node] = FLOW) -> list[Test]:
    """The questions answered from the first on, up to a leaf or to the first one whose answer is unknown."""
    by_fact = {node.fact: node for node in flow}
    passed, node = [], flow[0]
    while (answer := facts.get(node.fact)) is not None:
        passed.append(Test(node.fact, node.question, answer))
        target = node.yes if answer else node.no
        if target not in by_fact:
            break
        node = by_fact[target]
    return passed


def best_question(facts: Facts, flow: Sequence[Node] = FLOW) -> Node | None:
    """The unknown fact whose answer leaves fewest leaves on average, both answers counted alike; None where one leaf is left.

    Of equals, the one whose answers leave the likeliest leaf likeliest, then the first.
    """
    if len(shares(facts, flow)) == 1:
        return None

    def left(node: Node) -> tuple[float, float]:
        after = [shares({**facts, node.fact: answer}, flow) for answer in (True, False)]
        return sum(map(len, after)) / 2, -sum(max(found.values()) for found in after)

    return min((node for node in flow if facts.get(node.fact) is None), key=left)


def turning_points(facts: Facts, flow: Sequence[Node] = FLOW) -> dict[str, list[Leaf]]:
    """For each known fact whose opposite changes the leaves: those it would lead to."""
    now = set(shares(facts, flow))
    changed: dict[str, list[Leaf]] = {}
    for node in flow:
        answer = facts.get(node.fact)
        if answer is not None and (other := shares({**facts, node.fact: not answer}, flow)).keys() != now:
            changed[node.fact] = list(other)
    return changed
