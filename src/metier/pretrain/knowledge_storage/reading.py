"""A model probed for the facts of its corpus: which attributes it knows before they are told, and from the name alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metier.artifacts import Model
from metier.engines.text.sequences import border_tokens
from metier.models.precision import best_device
from metier.pretrain.knowledge_storage.mentions import Phrases
from metier.pretrain.knowledge_storage.probes import Asked, Reader, Training, probe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Key = tuple[str, str]
_PEOPLE_PER_CLASS = 4  # half of them are trained on


@dataclass(frozen=True)
class Probed:
    """An attribute read off a model. target: value, first_token, or nothing with the reason why.

    before: accuracy at the token before the first occurrence of each attribute's value (P); name_only: from the name alone (Q), with its
    95% interval (Wilson); both on people not trained on; majority: what always naming the commonest value would get there
    """

    attribute: str
    target: str
    reason: str
    classes: int
    people: int
    majority: float | None
    before: dict[str, float]
    name_only: float | None
    name_only_low: float | None
    name_only_high: float | None


def probe_model(
    model: Model,
    documents: Iterable[Mapping[str, Any]],
    values: Mapping[Key, str],
    *,
    ranks: tuple[int, int],
    steps: int,
    weight_decay: float,
    max_tokens: int,
    seed: int,
) -> list[Probed]:
    """Every attribute, over the entities of which some document tells all attributes within `max_tokens`: its first such document.

    Raises ValueError where fewer than four such entities are found.
    """
    tokenizer, device = model.tokenizer(), best_device()
    names = list(dict.fromkeys(attribute for _, attribute in values))
    told = told_texts(documents, values, names, tokenizer, max_tokens)
    if len(told) < 4:
        raise ValueError(
            f"{len(told)} entities have a document that tells all of {names} within max_tokens={max_tokens}: give four or more, "
            "or facts with fewer attributes"
        )
    network = model.load().to(device)  # type: ignore[arg-type]
    alone = [name_text(text.group, tokenizer) for text in told]
    readers = Reader(network, 50), Reader(network, 200)
    found = []
    for attribute in names:
        own = [values[text.group, attribute] for text in told]
        target, labels, reason = classes_of(own, tokenizer)
        if target == "nothing":
            found.append(Probed(attribute, target, reason, len(set(own)), len(told), None, {}, None, None, None))
            continue
        p = probe(readers[0], told, labels, Training(ranks[0], steps, 50, weight_decay=weight_decay), norm="layer", seed=seed)
        q = probe(readers[1], alone, labels, Training(ranks[1], steps, 200, weight_decay=weight_decay), norm="batch", seed=seed)
        before = dict(zip(names, p.accuracy, strict=True))
        low, high = wilson(q.correct[0], q.asked)
        found.append(Probed(attribute, target, reason, q.classes, len(told), q.majority, before, q.accuracy[0], low, high))
    return found


def told_texts(
    documents: Iterable[Mapping[str, Any]],
    values: Mapping[Key, str],
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
) -> list[Asked]:
    """For each entity its first document that tells all attributes: tokens, and the place before each value's first occurrence."""
    entities = {entity for entity, _ in values}
    phrases = Phrases([*entities, *values.values()])
    begin, _ = border_tokens(tokenizer)
    found: dict[str, Asked] = {}
    for document in documents:
        spans: dict[str, int] = {}
        for start, phrase in phrases.find(document["text"]):
            spans.setdefault(phrase, start)
        here = [entity for entity in spans if entity in entities and entity not in found]
        here = [entity for entity in here if all(values.get((entity, name)) in spans for name in names)]
        if not here:
            continue
        encoded = tokenizer(document["text"], add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids = [begin, *encoded["input_ids"]][:max_tokens]
        for entity in here:
            # Token number i of the text is place i + 1 after BOS, so the place before a value's first token is that token's number.
            places = [_token_at(encoded["offset_mapping"], spans[values[entity, name]]) for name in names]
            if max(places) < len(ids):
                found[entity] = Asked(ids, places, entity)
    return list(found.values())


def name_text(name: str, tokenizer: PreTrainedTokenizerBase) -> Asked:
    """The name between the tokens that begin and end a document; the last one is read."""
    begin, end = border_tokens(tokenizer)
    ids = [begin, *tokenizer(name, add_special_tokens=False)["input_ids"], end]
    return Asked(ids, [len(ids) - 1], name)


def classes_of(values: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[str, list[int], str]:
    """What of an attribute can be probed with so many people (target, a label a person, and why not more)."""
    for target, told in (("value", list(values)), ("first_token", [_first_token(value, tokenizer) for value in values])):
        classes = sorted(set(told))
        if len(classes) == 1:
            return "nothing", [], f"all {len(values)} have the same {target}"
        if _PEOPLE_PER_CLASS * len(classes) <= len(values):
            reason = "" if target == "value" else f"{len(set(values))} values are too many for {len(values)} people"
            return target, [classes.index(one) for one in told], reason
    return "nothing", [], f"{len(set(values))} values with {len(classes)} first tokens are too many for {len(values)} people"


def wilson(correct: int, asked: int) -> tuple[float, float]:
    """The 95% interval of a share."""
    z, share = 1.959964, correct / asked
    middle = (share + z * z / (2 * asked)) / (1 + z * z / asked)
    half = z * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked)) / (1 + z * z / asked)
    return middle - half, middle + half


def _token_at(offsets: Sequence[tuple[int, int]], start: int) -> int:
    return next(number for number, (_, end) in enumerate(offsets) if end > start)


def _first_token(value: str, tokenizer: PreTrainedTokenizerBase) -> str:
    ids = tokenizer(f" {value}", add_special_tokens=False)["input_ids"]
    return next(text for text in (str(tokenizer.decode([token])).strip() for token in ids) if text)
