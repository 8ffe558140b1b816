"""What the two models are asked: statements and instructions read, drawn and put into the tokens of each."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metier.artifacts import Corpus, Model
from metier.engines.inspect.refusal import render
from metier.engines.inspect.statements import Answers, Pairs, Prompt, Statement, answers_of, encode, examples_of, pair
from metier.engines.inspect.truth import shuffled_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

NUM_EXAMPLES = 4
MIN_PAIRS = 20
TRAIN_INSTRUCTIONS, TEST_INSTRUCTIONS = 128, 100  # of each label, at most
MIN_INSTRUCTIONS = 10


def read_statements(table: Corpus) -> list[Statement]:
    """Every statement once. Raises ValueError for none, and for a label that is not 0 or 1."""
    found = {row["text"]: Statement(row["text"].strip(), _label(row), row["source"]) for row in table.rows()}
    if not found:
        raise ValueError("there are no statements: give a table with text, label and source")
    return list(found.values())


def _label(row: dict[str, Any]) -> bool:
    if str(row.get("label")) not in ("0", "1"):
        raise ValueError(
            f"{row['id']} has the label {row.get('label')!r}: give 1 (true, harmful) or 0 (false, harmless) in the column label"
        )
    return str(row["label"]) == "1"


@dataclass(frozen=True)
class Instructions:
    """Instructions for the direction, with their labels, and those for the answers."""

    train: list[str]
    labels: np.ndarray
    harmful: list[str]
    harmless: list[str]


def read_instructions(table: Corpus, seed: int) -> Instructions:
    """Drawn apart by `seed`, four fifths for the direction. Raises ValueError for fewer than MIN_INSTRUCTIONS of a label."""
    of_label: dict[bool, list[str]] = {True: [], False: []}
    for row in table.rows():
        of_label[_label(row)].append(row["text"])
    counts = {label: len(texts) for label, texts in of_label.items()}
    if min(counts.values()) < MIN_INSTRUCTIONS:
        raise ValueError(
            f"{counts[True]} harmful and {counts[False]} harmless instructions: give at least {MIN_INSTRUCTIONS} of each"
        )
    train: dict[bool, list[str]] = {}
    for label, texts in of_label.items():
        random.Random(seed).shuffle(texts)
        train[label] = texts[: min(TRAIN_INSTRUCTIONS, len(texts) * 4 // 5)]
        of_label[label] = texts[len(train[label]) :][:TEST_INSTRUCTIONS]
    labels = np.array([True] * len(train[True]) + [False] * len(train[False]))
    return Instructions(train[True] + train[False], labels, of_label[True], of_label[False])


@dataclass(frozen=True)
class Asked:
    """What one model is asked, in its own tokens.

    statements: all; alone: each without examples; trained: those that the intervention's direction is read from; tried: those it is
    tried on, with their prompts; train, harmful, harmless: the instructions
    """

    answers: Answers
    pairs: Pairs
    statements: list[Statement]
    alone: list[Prompt]
    trained: np.ndarray
    tried: list[Statement]
    prompts: list[Prompt]
    labels: np.ndarray
    train: list[list[int]]
    harmful: list[list[int]]
    harmless: list[list[int]]
    tokenizer: PreTrainedTokenizerBase


def ask_both(
    before: Model,
    after: Model,
    known: list[Statement],
    split: Instructions | None,
    map_source: str | None,
    num_pairs: int,
    num_statements: int,
    seed: int,
) -> dict[str, Asked]:
    """The same of both models, by "before" and "after". The set mapped is `map_source`, or the one with most pairs.

    Both get instructions in the later model's template, or the earlier one's where it has none, if they share a vocabulary: places in a
    prompt mean the same then.
    Raises ValueError where statements or instructions do not suffice.
    """
    tokenizers = {"before": before.tokenizer(), "after": after.tokenizer()}
    source = map_source if map_source is not None else _best_source(tokenizers["after"], known, seed)
    mapped = [statement for statement in known if statement.source == source]
    if not mapped:
        raise ValueError(f"map_source={source!r} is none of the sets {sorted({statement.source for statement in known})}")
    examples = examples_of(mapped, NUM_EXAMPLES, seed)
    tried = _balanced([statement for statement in mapped if statement not in examples], num_statements, seed)
    others = np.array([statement.source != source for statement in known])
    trained = others if others.any() else np.array([statement not in tried for statement in known])
    same = tokenizers["before"].get_vocab() == tokenizers["after"].get_vocab()
    with_template = [tokenizers[name] for name in ("after", "before") if tokenizers[name].chat_template is not None]
    found = {}
    for name, tokenizer in tokenizers.items():
        answers = answers_of(tokenizer)
        chat = with_template[0] if same and with_template else tokenizer
        texts = (split.train, split.harmful, split.harmless) if split is not None else ()
        train, harmful, harmless = [render(chat, part) for part in texts] or [[], [], []]
        found[name] = Asked(
            answers=answers,
            pairs=pair(tokenizer, mapped, examples, answers, num_pairs=num_pairs, min_pairs=MIN_PAIRS, seed=seed),
            statements=known,
            alone=[encode(tokenizer, "", statement.text) for statement in known],
            trained=trained,
            tried=tried,
            prompts=shuffled_prompts(tokenizer, tried, examples, answers),
            labels=split.labels if split is not None else np.array([], dtype=bool),
            train=train,
            harmful=harmful,
            harmless=harmless,
            tokenizer=tokenizer,
        )
    return found


def _best_source(tokenizer: PreTrainedTokenizerBase, known: list[Statement], seed: int) -> str:
    """The set with most pairs of one pattern."""
    counts: dict[str, int] = {}
    answers = answers_of(tokenizer)
    for source in dict.fromkeys(statement.source for statement in known):
        of_source = [statement for statement in known if statement.source == source]
        try:
            examples = examples_of(of_source, NUM_EXAMPLES, seed)
            found = pair(tokenizer, of_source, examples, answers, num_pairs=len(known), min_pairs=MIN_PAIRS, seed=seed)
        except ValueError as reason:
            logger.info("%s cannot be mapped: %s", source, reason)
            continue
        counts[source] = len(found.true_ids)
    if not counts:
        raise ValueError(
            f"none of the sets {sorted({statement.source for statement in known})} has {MIN_PAIRS} pairs of a true and a false statement that "
            "line up token by token: give one of a fixed form, such as 'The city of X is in Y.'; map_source=NAME says why a set has none"
        )
    return max(counts, key=lambda source: counts[source])


def _balanced(statements: list[Statement], most: int, seed: int) -> list[Statement]:
    true, false = ([one for one in statements if one.is_true == is_true] for is_true in (True, False))
    count = min(len(true), len(false), most // 2)
    if count == 0:
        raise ValueError(f"beside the examples the mapped set has {len(true)} true and {len(false)} false statements: give more")
    generator = random.Random(seed)
    return generator.sample(true, count) + generator.sample(false, count)


def mismatch(before: Model, after: Model) -> str | None:
    """Why the two cannot be compared vector by vector; None where they can."""
    ours, theirs = before.config().get_text_config(), after.config().get_text_config()
    for name in ("hidden_size", "num_hidden_layers"):
        if getattr(ours, name) != getattr(theirs, name):
            return f"{name} is {getattr(ours, name)} before and {getattr(theirs, name)} after"
    if before.tokenizer().get_vocab() != after.tokenizer().get_vocab():
        return "the vocabularies differ"
    return None
