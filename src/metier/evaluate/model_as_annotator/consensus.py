"""One label an item from several annotators, none of them known to be right: who agrees with whom says how good each is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from metier.artifacts import Corpus
from metier.method import method

# N items, R raters, C labels

STILL = 1e-10  # nats an item; at 1e-6 posteriors are still 0.03 from where they end: the likelihood is flat at its top


@method(
    paper="Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm, Dawid and Skene 1979",
    claim="labels of several annotators of unequal quality, better than by majority",
)
def consensus(annotated: list[Corpus], *, labels: list[str], rounds: int = 100, smoothing: float = 0.01) -> Corpus:
    """The rows with the likeliest true label of each, given what each annotator said of it.

    annotated: tables of the same rows, one an annotator (a model, a prompt, a person), with a column `label`, null where it has none.
    The first table's columns stay; new are label, p_label (the posterior probability) and labels_given (list, one
    an annotator).
    Raises ValueError for fewer than three annotators, tables of other rows, unknown labels, and rows nobody labelled.
    Settings:
        labels: all labels
        rounds: most rounds of expectation maximisation; it stops before, when the log-likelihood changes by less than 1e-10 nats an item
        smoothing: added to each count of an annotator's table, so that what never happened is not impossible
    """
    if len(annotated) < 3:
        raise ValueError(f"{len(annotated)} annotators do not tell who is right: give three or more")
    tables = [{row["id"]: row for row in table.rows()} for table in annotated]
    for number, table in enumerate(tables[1:], start=2):
        if table.keys() != tables[0].keys():
            raise ValueError(
                f"annotator {number} has other rows than the first: {len(table.keys() ^ tables[0].keys())} of one only"
            )
    given = {name: [table[name]["label"] for table in tables] for name in tables[0]}
    found = dawid_skene(_places(given.values(), labels), len(labels), rounds=rounds, smoothing=smoothing)
    rows = []
    for (name, said), posterior_C in zip(given.items(), found.posterior, strict=True):
        best = int(posterior_C.argmax())
        rows.append(tables[0][name] | {"label": labels[best], "p_label": float(posterior_C[best]), "labels_given": said})
    return Corpus.from_rows(rows)


def _places(given: Iterable[Sequence[str | None]], labels: Sequence[str]) -> np.ndarray:
    place: dict[str | None, int] = {label: number for number, label in enumerate(labels)} | {None: -1}
    try:
        return np.array([[place[label] for label in said] for said in given])
    except KeyError as error:
        raise ValueError(f"the label {error.args[0]!r} is none of {list(labels)}") from error


class Agreed(NamedTuple):
    """posterior: (N, C), P(true label) of each item; confusion: (R, C, C), P(rater says column | row is true); prior: (C,); rounds until it stood still."""

    posterior: np.ndarray
    confusion: np.ndarray
    prior: np.ndarray
    rounds: int


def dawid_skene(ratings_NR: np.ndarray, num_labels: int, *, rounds: int = 100, smoothing: float = 0.01) -> Agreed:
    """The true labels and each rater's errors, likeliest together, by expectation maximisation from the majority (Dawid and Skene 1979).

    ratings_NR: whole numbers, the label's place, -1 where a rater did not label the item. Raters are columns, so who labelled must be known.
    rounds: most rounds; it stops before when the log-likelihood changes by less than 1e-10 an item
    smoothing: added to each count of a rater's table, so that what never happened is not impossible
    Raises ValueError for items without a label.
    """
    if ((ratings_NR >= 0).sum(1) == 0).any():
        raise ValueError("some items have no label at all: leave them out")
    said_RNC = (ratings_NR.T[:, :, None] == np.arange(num_labels)).astype(np.float64)
    votes_NC = said_RNC.sum(0)
    posterior_NC = votes_NC / votes_NC.sum(1, keepdims=True)
    before, done = -np.inf, 0
    while done < rounds:
        done += 1
        prior_C = posterior_NC.mean(0)
        confusion_RCC = np.einsum("nc,rnk->rck", posterior_NC, said_RNC) + smoothing
        confusion_RCC /= confusion_RCC.sum(2, keepdims=True)
        joint_NC = np.log(np.maximum(prior_C, 1e-300)) + np.einsum("rnk,rck->nc", said_RNC, np.log(confusion_RCC))
        highest_N1 = joint_NC.max(1, keepdims=True)
        evidence_N1 = highest_N1 + np.log(np.exp(joint_NC - highest_N1).sum(1, keepdims=True))
        posterior_NC = np.exp(joint_NC - evidence_N1)
        now = float(evidence_N1.mean())
        if abs(now - before) < STILL:
            break
        before = now
    return Agreed(posterior_NC, confusion_RCC, prior_C, done)
