"""`pretrain.knowledge_storage`: which facts of a corpus a model could be asked for after reading it, and which it could only recite."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from metier.artifacts import Corpus, Model, Table
from metier.method import method
from metier.pretrain.knowledge_storage.mentions import Mentions, find_mentions

if TYPE_CHECKING:
    from metier.pretrain.knowledge_storage.reading import Probed

logger = logging.getLogger(__name__)

Key = tuple[str, str]


@dataclass(frozen=True)
class Summary:
    """What the audit found. facts: how many were given; unmentioned: stand in no document; at_risk: mentioned, but in too few wordings or
    always at the same place; documents: of the corpus; to_paraphrase: of them, those that hold a fact at risk; diverse_entities: share
    of the mentioned entities without a fact at risk (in the paper, a fifth of such people lifted the others); determined: attributes
    that follow from another one, whose questions can be answered without knowing the entity; probed: of the model, by attribute"""

    facts: int
    unmentioned: int
    at_risk: int
    documents: int
    to_paraphrase: int
    diverse_entities: float
    determined: dict[str, list[str]]
    probed: list[Probed]


class KnowledgeStorage(NamedTuple):
    """facts: entity, attribute, value, mentions (documents), wordings, places, named (share of mentions next to the full name),
    at_risk, reason. documents: the corpus with facts_at_risk (how many a document holds), for `pretrain.knowledge_storage.augment`."""

    facts: Table
    documents: Corpus
    summary: Summary


@method(
    paper="Physics of Language Models: Part 3.1, Knowledge Storage and Extraction, arXiv 2309.14316, sections 3 to 6",
    claim="facts told in one wording only are named before training; probes read what is stored and nothing that is not",
)
def knowledge_storage(
    corpus: Corpus,
    facts: Table,
    model: Model | None = None,
    *,
    min_wordings: int = 3,
    min_places: int = 2,
    p_rank: int = 2,
    q_rank: int = 16,
    probe_steps: int = 30_000,
    weight_decay: float = 0.3,
    max_tokens: int = 512,
    seed: int = 0,
) -> KnowledgeStorage:
    """The facts of a corpus with how they are told, its documents with how many facts at risk each holds, and what a model stores.

    `facts` has the columns entity, attribute, value (pretrain.knowledge_storage.read_facts makes it of a file). In the paper people told in one wording are recited without a fault, and 9.7% of
    questions about them are answered; in five wordings 41%, shuffled too 96.6%. So a fact is at risk that is told in fewer than
    `min_wordings` (words before the value; alike where 60% are common) or at fewer than `min_places` (values told before it). The bounds
    are ours: by them every fact of the paper's `single` and `multi5` is at risk, and 2% of its `multi5+permute`. They are no law: see
    what questions say after training.

    With a `model` that has read the corpus, each attribute is probed: P at the token before each value, whether any attribute can be
    told already there (high before its own place means stored on the name); Q on the name alone, which goes with the share of questions
    answered after fine-tuning. Whole values are told apart where people are more than four times as many, else first tokens, else
    nothing, with the reason. Differs from the paper: one document a person is probed, and the places of a text share the update
    of the embedding. Raises ValueError for facts that contradict each other, an empty table, and settings out of range.
    Settings:
        min_wordings: fewest wordings of a fact that is not at risk; five drawn at random of some fifty are four different ones on average
        min_places: fewest different places, 1 for any order
        p_rank: of the P-probe's update of the embedding; the paper's 2; 0 reads all states once and is far cheaper
        q_rank: the same of the Q-probe; the paper's 16
        probe_steps: of each probe; the paper's 30,000
        weight_decay: of the probes
        max_tokens: of a document that is probed; values further on are left out
    """
    if min_wordings < 1 or min_places < 1:
        raise ValueError(f"min_wordings={min_wordings}, min_places={min_places}: give 1 or more, such as 3 and 2")
    values = _values(facts)
    found = find_mentions(corpus.rows(), values)
    reasons = {key: _reason(mentions, min_wordings, min_places) for key, mentions in found.items()}
    at_risk: dict[str, int] = defaultdict(int)
    for key, reason in reasons.items():
        if reason not in (None, "not mentioned"):
            for document in found[key].documents:
                at_risk[document] += 1
    documents = [{**row, "facts_at_risk": at_risk[row["id"]]} for row in corpus.rows()]
    probed = []
    if model is not None:
        from metier.pretrain.knowledge_storage.reading import probe_model

        probed = probe_model(
            model,
            corpus.rows(),
            values,
            ranks=(p_rank, q_rank),
            steps=probe_steps,
            weight_decay=weight_decay,
            max_tokens=max_tokens,
            seed=seed,
        )
    summary = _summary(found, reasons, values, documents, probed)
    logger.info(
        "%d facts, %d not mentioned, %d at risk; %d of %d documents to paraphrase",
        summary.facts,
        summary.unmentioned,
        summary.at_risk,
        summary.to_paraphrase,
        summary.documents,
    )
    rows = [_row(key, values[key], found[key], reasons[key]) for key in values]
    return KnowledgeStorage(
        Table.from_rows(rows), Corpus.from_rows(documents, columns=["id", "text", "source", "facts_at_risk"]), summary
    )


def _values(facts: Table) -> dict[Key, str]:
    values: dict[Key, str] = {}
    for row in facts.rows():
        missing = [name for name in ("entity", "attribute", "value") if not row.get(name)]
        if missing:
            raise ValueError(f"the facts have a row without {missing[0]}: {row}; give entity, attribute and value in each")
        key = row["entity"], row["attribute"]
        if values.setdefault(key, row["value"]) != row["value"]:
            raise ValueError(
                f"{key[0]!r} has two values of {key[1]}, {values[key]!r} and {row['value']!r}: two entities of one name?"
            )
    if not values:
        raise ValueError("the table of facts is empty: give rows of entity, attribute and value")
    return values


def _reason(mentions: Mentions, min_wordings: int, min_places: int) -> str | None:
    """Why a fact is at risk; None where it is not."""
    if not mentions.documents:
        return "not mentioned"
    if len(mentions.wordings) < min_wordings:
        return "few wordings"
    return "same place" if len(mentions.places) < min_places else None


def _row(key: Key, value: str, mentions: Mentions, reason: str | None) -> dict[str, Any]:
    return {
        "entity": key[0],
        "attribute": key[1],
        "value": value,
        "mentions": len(mentions.documents),
        "wordings": len(mentions.wordings),
        "places": len(mentions.places),
        "named": mentions.named / len(mentions.documents) if mentions.documents else 0.0,
        "at_risk": reason is not None,
        "reason": reason or "",
    }


def _summary(
    found: Mapping[Key, Mentions],
    reasons: Mapping[Key, str | None],
    values: Mapping[Key, str],
    documents: Sequence[Mapping[str, Any]],
    probed: list[Probed],
) -> Summary:
    mentioned = {entity for (entity, _), mentions in found.items() if mentions.documents}
    risky = {entity for (entity, _), reason in reasons.items() if reason is not None}
    unmentioned = sum(reason == "not mentioned" for reason in reasons.values())
    return Summary(
        facts=len(values),
        unmentioned=unmentioned,
        at_risk=sum(reason is not None for reason in reasons.values()) - unmentioned,
        documents=len(documents),
        to_paraphrase=sum(row["facts_at_risk"] > 0 for row in documents),
        diverse_entities=len(mentioned - risky) / len(mentioned) if mentioned else 0.0,
        determined=determined(values),
        probed=probed,
    )


def determined(values: Mapping[Key, str]) -> dict[str, list[str]]:
    """For each attribute the others that its value follows from: every value of theirs goes with one of it, and some value is shared."""
    by_entity: dict[str, dict[str, str]] = defaultdict(dict)
    for (entity, attribute), value in values.items():
        by_entity[entity][attribute] = value
    names = list(dict.fromkeys(attribute for _, attribute in values))
    found: dict[str, list[str]] = {}
    for name in names:
        for other in names:
            pairs = [(own[other], own[name]) for own in by_entity.values() if name in own and other in own]
            sources = {pair[0] for pair in pairs}
            if name != other and len(set(pairs)) == len(sources) and 2 * len(sources) <= len(pairs):
                found.setdefault(name, []).append(other)
    return found
