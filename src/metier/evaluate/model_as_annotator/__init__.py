"""A model labels a table, and a card says how far its labels can be trusted. judge and augment stand beside it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from metier.artifacts import Corpus
from metier.evaluate.model_as_annotator import voting
from metier.evaluate.model_as_annotator.card import Trust
from metier.evaluate.model_as_annotator.voting import Answers, Vote
from metier.method import method
from metier.models.language_model import LanguageModel

logger = logging.getLogger(__name__)

FEW_GOLD = 100


class Annotated(NamedTuple):
    """rows: those given, with their labels; trust: what is known of how right these are."""

    rows: Corpus
    trust: Trust


@method(
    paper="A Survey of GPT-3 Family Large Language Models, arXiv 2310.12321",
    claim="estimates from a model's labels and few of people's, and says how far to trust them",
)
def model_as_annotator(
    rows: Corpus,
    model: LanguageModel,
    *,
    labels: dict[str, str],
    guidelines: str = "",
    scale: Literal["nominal", "ordinal"] = "nominal",
    answers: Answers = "written",
    votes: int = 3,
    shots: int = 0,
    gold: Literal["random", "chosen", "unknown"] = "unknown",
    margin: float = 0.03,
    seed: int = 0,
) -> Annotated:
    """The rows with a label each, and a card of the labels' quality measured on the rows that people have labelled.

    rows: a column `gold` holds, for the rows that people labelled, one label or a list of them (a place a person, null where missing); null
        for the others. It is never shown for the row itself, nor for a copy of it. 100 rows are few, 300 good.
    Adds columns: label (null where no answer could be read), share (of the votes that are for it), entropy (of the votes, nats), p_label
    (probability among the labels, from the mean over orders of what is scored; null when written), votes (list, null where unread), num_unread, answer_tokens.
    Each vote shows the labels in another order; when all orders are used up (two labels have two), it is written at temperature 0.7.
    The survey gives advice and no statistics; its three uses are this method, `augment` and `judge`. Labels' names are scored, against the same
    prompt without an item (contextual calibration, arXiv 2102.09690), and not letters: of these SmolLM2 prefers one whatever it stands for.
    Numbers to publish about all rows are trust.measured.shares[...].estimated, never the raw shares.
    Raises ValueError for gold labels that are none of `labels`, an empty table and wrong settings; RuntimeError when over 5% of the answers
    can't be read.
    Settings:
        labels: name and one-line definition of each label ("" for none); in order of the scale for ordinal ones
        guidelines: what else an annotator is told
        scale: nominal; ordinal weights disagreements by their distance
        answers: written is JSON, read strictly, one retry; scored takes each label's log-probability after the item as plain text, less that
            after no item, and is for models that can't follow a format
        votes: answers a row, each with another order of the labels, 1 to 9
        shots: examples shown before each row, drawn from the rows labelled by people, 0 to 8
        gold: how the rows that people labelled were picked; only random ones support estimates for all rows
        margin: how much worse than a person may be called as good as one, as a share of agreement
    """
    _check(labels, votes, shots, margin)
    table = list(rows.rows())
    if not table:
        raise ValueError("there are no rows to label")
    people = [_people(row, labels) for row in table]
    from metier.evaluate.model_as_annotator.trust import Labelled, majority, measure_trust

    pool = [(row["id"], row["text"], majority(given, list(labels))) for row, given in zip(table, people, strict=True) if given]
    examples = voting.shown_examples(pool, [(row["id"], row["text"]) for row in table], shots, seed)
    given = voting.collect(
        model,
        [row["text"] for row in table],
        labels,
        guidelines,
        votes=votes,
        answers=answers,
        examples=examples,
        seed=seed,
    )
    found = [_columns(ballots, list(labels)) for ballots in given]
    labelled = [Labelled(row["label"], row["share"], own) for row, own in zip(found, people, strict=True)]
    measured = measure_trust(labelled, list(labels), scale=scale, drawn_at_random=gold == "random", margin=margin, seed=seed)
    asked = json.dumps([labels, guidelines, answers, votes, shots, seed], ensure_ascii=False)
    trust = Trust(
        model=model.name,
        prompt=hashlib.sha256(asked.encode()).hexdigest()[:16],
        labels=list(labels),
        num_rows=len(table),
        num_votes=votes,
        answer_tokens=sum(row["answer_tokens"] for row in found),
        unread=sum(row["num_unread"] for row in found) / (votes * len(table)),
        order_flips=sum(len({vote.label for vote in ballots}) > 1 for ballots in given) / len(table),
        measured=measured,
        warnings=_warnings(len(pool), gold),
    )
    for warning in trust.warnings:
        logger.warning("%s", warning)
    return Annotated(Corpus.from_rows(row | columns for row, columns in zip(table, found, strict=True)), trust)


def _check(labels: Mapping[str, str], votes: int, shots: int, margin: float) -> None:
    if len(labels) < 2:
        raise ValueError(f"labels={dict(labels)} leaves nothing to choose: give two or more")
    bare = {name.strip().casefold() for name in labels}
    if len(bare) < len(labels) or "" in bare:
        raise ValueError(
            f"labels={list(labels)}: one is empty, or two differ by case or space only, and answers could not be told apart"
        )
    if not 1 <= votes <= 9:
        raise ValueError(f"votes={votes}: give 1 to 9")
    if not 0 <= shots <= 8:
        raise ValueError(f"shots={shots}: give 0 to 8")
    if not 0 <= margin < 1:
        raise ValueError(f"margin={margin} is no share of agreement: give 0 or more and less than 1, such as 0.03")


def _people(row: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[str | None, ...]:
    """People's labels of a row; () where there are none."""
    value = row.get("gold")
    given = tuple(value) if isinstance(value, list | tuple) else (value,)
    unknown = [label for label in given if label is not None and label not in labels]
    if unknown:
        raise ValueError(f"row {row['id']!r}: the gold labels {unknown} are none of {list(labels)}")
    return given if any(label is not None for label in given) else ()


def _columns(ballots: list[Vote], names: list[str]) -> dict[str, Any]:
    decision = voting.decide(ballots, names)
    return {
        "label": decision.label,
        "share": decision.share,
        "entropy": decision.entropy,
        "p_label": decision.p,
        "votes": [vote.label for vote in ballots],
        "num_unread": sum(vote.label is None for vote in ballots),
        "answer_tokens": sum(vote.num_tokens for vote in ballots),
    }


def _warnings(num_gold: int, gold: str) -> list[str]:
    found = []
    if num_gold == 0:
        found.append("no row has a label of a person in the column `gold`: how right the labels are is unknown")
    elif num_gold < FEW_GOLD:
        found.append(f"{num_gold} rows labelled by people are few: intervals are wide; {FEW_GOLD} or more, drawn at random")
    if num_gold and gold == "unknown":
        found.append("how the rows labelled by people were picked is not said (gold=unknown): accuracy holds for such rows only")
    elif num_gold and gold == "chosen":
        found.append("the rows labelled by people were chosen, not drawn: accuracy holds for such rows only")
    return found
