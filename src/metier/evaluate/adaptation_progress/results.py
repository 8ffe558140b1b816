"""What an audit says: accuracies in four cells a task, and the parts of the gain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Decoding = Literal["greedy", "constrained"]
PromptCell = Literal["own", "copied"]
Outcome = Literal["win", "tie", "loss"]
Answered = Literal["pass", "fail", "unknown"]

DECODINGS: tuple[Decoding, ...] = ("greedy", "constrained")
PROMPT_CELLS: tuple[PromptCell, ...] = ("own", "copied")


@dataclass(frozen=True)
class Cell:
    """One task under one prompt and decoding. Accuracies are shares; difference, low and high (95%) are candidate less base.

    unparsed_base, unparsed_candidate: share of answers that name no option, which count as wrong
    prompt_base, prompt_candidate: number of the candidate prompt used; 0 is the default template
    outcome: win or loss where the interval excludes 0; sign: the same by the raw sign of the difference
    """

    task: str
    num_items: int
    prompt_cell: PromptCell
    decoding: Decoding
    base: float
    candidate: float
    difference: float
    low: float
    high: float
    outcome: Outcome
    sign: Outcome
    unparsed_base: float
    unparsed_candidate: float
    prompt_base: int
    prompt_candidate: int


@dataclass(frozen=True)
class Part:
    """A mean over tasks of accuracy differences, with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Audit:
    """What became of a gain. `claimed` = `prompt` + `format` + `remaining`, in shares (0.01 is a point).

    claimed: the candidate's prompt copied to the base, greedy; prompt: what of it goes when each has its own prompt; format: what
        goes when only the options may be answered; remaining: the rest
    interval_over: "rows", or "rows and tasks" with five tasks or more
    unseen: the remaining gain on items that share no 8 words in a row with the adaptation text; None without that text
    rates: share of tasks won, tied and lost, by prompt cell and rule, greedy
    checklist: pass, fail or unknown, by question; notes: what a reader has to know
    """

    cells: list[Cell]
    claimed: Part
    prompt: Part
    format: Part
    remaining: Part
    interval_over: Literal["rows", "rows and tasks"]
    unseen: Part | None
    num_seen: int | None
    rates: dict[str, dict[Outcome, float]]
    checklist: dict[str, Answered]
    sentence: str
    notes: list[str] = field(default_factory=list)
