"""Several votes of one model on each item, each with the labels in another order, read strictly."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from metier.evaluate.model_as_annotator import prompts
from metier.models.language_model import Completion, LanguageModel, Message

logger = logging.getLogger(__name__)

Answers = Literal["written", "scored"]
FIRST = 200  # items asked before it is judged whether the model can be read at all
MOST_UNREAD = 0.05
NO_ITEM = "N/A"  # what labels have without an item is the model's own bias (contextual calibration, arXiv 2102.09690)
WARMTH = 0.7  # of votes for which no other order of the labels is left


@dataclass(frozen=True)
class Vote:
    """label: None where the answer could not be read; said: the model's words, or why there are none; logprobs: by label, when scored, in
    nats more than without an item."""

    label: str | None
    said: str = ""
    logprobs: Mapping[str, float] = field(default_factory=dict)
    num_tokens: int = 0


class Decision(NamedTuple):
    """label: None where no vote was read; share of all votes that are for it; entropy of the votes in nats; p: its probability, when scored."""

    label: str | None
    share: float
    entropy: float
    p: float | None


def orders(labels: Sequence[str], votes: int, seed: int) -> list[list[str]]:
    """As many different orders as there are, at most `votes`: the rotations of a random order, then those of another, and so on.

    After every len(labels) of them each label has stood in each place equally often. The same for all items, so that what stands before an
    item is computed once.
    """
    start, generator = list(labels), random.Random(f"{seed} orders")
    found: list[list[str]] = []
    while len(found) < min(votes, math.factorial(len(start))):
        generator.shuffle(start)
        if start not in found:
            found += [start[turn:] + start[:turn] for turn in range(len(start))]
    return found[:votes]


def collect(
    model: LanguageModel,
    texts: Sequence[str],
    labels: Mapping[str, str],
    guidelines: str,
    *,
    votes: int,
    answers: Answers,
    examples: Sequence[Sequence[tuple[str, str]]],
    seed: int,
) -> list[list[Vote]]:
    """`votes` votes for each text. examples: for each text, (text, label) pairs to show before it.

    Raises RuntimeError when more than 5% of the first items' answers can't be read, with samples of them, and ValueError for more scored votes
    than the labels have orders, which would only count the same number twice.
    """
    given: list[list[Vote]] = [[] for _ in texts]
    for part in (range(min(FIRST, len(texts))), range(min(FIRST, len(texts)), len(texts))):
        for number, order in enumerate(_ballots(labels, votes, answers, seed)):
            before = [
                prompts.label_prompt(labels, guidelines, order, examples[place], json_form=answers == "written") for place in part
            ]
            if answers == "written":
                temperature = WARMTH if number >= math.factorial(len(labels)) else 0.0
                questions = [start + prompts.fenced(texts[place]) for start, place in zip(before, part, strict=True)]
                found = _written(model, questions, order, temperature, seed + number)
            else:
                found = _scored(model, before, [texts[place] for place in part], order)
            for place, vote in zip(part, found, strict=True):
                given[place].append(vote)
        _check_readable([vote for place in part for vote in given[place]], model.name)
    return given


def _ballots(labels: Mapping[str, str], votes: int, answers: Answers, seed: int) -> list[list[str]]:
    found = orders(list(labels), votes, seed)
    if len(found) < votes and answers == "scored":
        raise ValueError(
            f"votes={votes}: {len(labels)} labels stand in {len(found)} orders only, and scores do not vary otherwise"
        )
    return [found[number % len(found)] for number in range(votes)]


def _written(model: LanguageModel, questions: list[str], order: list[str], temperature: float, seed: int) -> list[Vote]:
    conversations: list[list[Message]] = [prompts.asked(question) for question in questions]
    room = 24 + 2 * max(len(name.encode()) for name in order)
    first = model.generate(conversations, max_new_tokens=room, temperature=temperature, seed=seed)
    found = [_read(completion, order) for completion in first]
    again = [place for place, vote in enumerate(found) if vote.label is None and first[place].error is None]
    retried = [prompts.asked_again(conversations[place], first[place].text, order) for place in again]
    second = model.generate(retried, max_new_tokens=room, temperature=temperature, seed=seed) if retried else []
    for place, completion in zip(again, second, strict=True):
        vote = _read(completion, order)
        found[place] = Vote(vote.label, vote.said, num_tokens=vote.num_tokens + first[place].num_tokens)
    return found


def _read(completion: Completion, names: Sequence[str]) -> Vote:
    if completion.error is not None:
        return Vote(None, f"({completion.error})")
    return Vote(prompts.parse(completion.text, names), completion.text, num_tokens=completion.num_tokens)


def _scored(model: LanguageModel, before: list[str], texts: list[str], order: list[str]) -> list[Vote]:
    """Each label by its log-probability after the item, less that after no item at all in the same prompt."""
    shown = [f"{start}{prompts.fenced(text)}\nLabel:" for start, text in zip(before, texts, strict=True)]
    blank = [f"{start}{prompts.fenced(NO_ITEM)}\nLabel:" for start in before]
    scores = model.score([(question, f" {name}") for question in (*shown, *blank) for name in order])
    logprobs = [score.logprob for score in scores]
    if not all(map(math.isfinite, logprobs)):
        raise ValueError(
            f"log-probabilities of {model.name} are no finite numbers: its weights are broken or overflow their precision"
        )
    found = []
    for place in range(len(texts)):
        given, free = (logprobs[start : start + len(order)] for start in (place * len(order), (place + len(texts)) * len(order)))
        by_name = {name: a - b for name, a, b in zip(order, given, free, strict=True)}
        found.append(Vote(max(order, key=by_name.__getitem__), logprobs=by_name))
    return found


def _check_readable(votes: Sequence[Vote], name: str) -> None:
    unread = [vote.said for vote in votes if vote.label is None]
    if not unread:
        return
    logger.warning("%d of %d answers of %s name no label; the first: %r", len(unread), len(votes), name, unread[0][:100])
    if len(unread) > MOST_UNREAD * len(votes):
        samples = "; ".join(repr(said[:80]) for said in unread[:3])
        raise RuntimeError(
            f"{len(unread)} of {len(votes)} answers of {name} name no label, such as {samples}: shorten the guidelines, give shots, ask "
            "with answers='scored', or take a model that follows instructions"
        )


def decide(votes: Sequence[Vote], labels: Sequence[str]) -> Decision:
    """What the votes come to. Unread votes count against every label.

    Written votes are decided by majority, among equals the label voted for first; scored ones by the mean of their log-probabilities.
    """
    counts = Counter(vote.label for vote in votes if vote.label is not None)
    if not counts:
        return Decision(None, 0.0, 0.0, None)
    label, p = counts.most_common(1)[0][0], None
    if votes[0].logprobs:
        means = {name: math.fsum(vote.logprobs[name] for vote in votes) / len(votes) for name in labels}
        label = max(labels, key=means.__getitem__)
        p = 1 / math.fsum(math.exp(mean - means[label]) for mean in means.values())
    total = counts.total()
    entropy = -math.fsum(count / total * math.log(count / total) for count in counts.values())
    return Decision(label, counts[label] / len(votes), abs(entropy), p)


def shown_examples(
    gold: Sequence[tuple[str, str, str]], items: Sequence[tuple[str, str]], shots: int, seed: int
) -> list[list[tuple[str, str]]]:
    """For each item (id, text), `shots` (text, label) pairs drawn from gold (id, text, label), the same for all where they may be.

    An item is never shown itself, nor a copy of it under another id: the next one drawn takes its place.
    """
    drawn = list(gold)
    random.Random(f"{seed} shots").shuffle(drawn)
    if shots and len({_bare(text) for _, text, _ in gold}) <= shots:
        raise ValueError(f"shots={shots} needs more than {shots} different texts labelled by people; there are {len(gold)}")
    found = []
    for name, text in items:
        others = (example for example in drawn if example[0] != name and _bare(example[1]) != _bare(text))
        found.append([(shown, label) for _, (_, shown, label) in zip(range(shots), others, strict=False)])
    return found


def _bare(text: str) -> str:
    return " ".join(text.split()).casefold()
