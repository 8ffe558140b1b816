"""What a truth direction decides: verdicts when it is added to a statement's last two tokens, or taken from them."""
# N statements, B rows, T tokens a row, D hidden size

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch

from metier.engines.inspect.blocks import Edit, edited_outputs
from metier.engines.inspect.statements import Answers, Prompt, Statement, encode, examples_text
from metier.engines.inspect.stream import Stream
from metier.progress import track

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


def shuffled_prompts(
    tokenizer: PreTrainedTokenizerBase, statements: Sequence[Statement], examples: Sequence[Statement], answers: Answers
) -> list[Prompt]:
    """A prompt for each statement, with the examples in an order of its own (seed 1 + its number), as the authors have it."""
    prompts = []
    for number, statement in enumerate(statements):
        order = list(examples)
        random.Random(1 + number).shuffle(order)
        prompts.append(encode(tokenizer, examples_text(order, answers), statement.text))
    return prompts


def verdicts(
    stream: Stream, prompts: Sequence[Prompt], answers: Answers, layers: range, delta_ND: np.ndarray | None = None
) -> np.ndarray:
    """P(TRUE) - P(FALSE) after each prompt, (N,).

    delta_ND: added to what the blocks `layers` give at the statement's period and the token before it; None changes nothing
    """
    found_N = np.empty(len(prompts))
    for batch in track(list(stream.batches([len(prompt.ids) for prompt in prompts])), "asking for verdicts", unit="batch"):
        with (
            nullcontext()
            if delta_ND is None
            else _changed(stream, [prompts[number] for number in batch], layers, delta_ND[batch])
        ):
            probabilities_BV = stream.next_logits([prompts[number].ids for number in batch]).softmax(dim=-1)
        difference_B = probabilities_BV[:, answers.true_token] - probabilities_BV[:, answers.false_token]
        found_N[batch] = difference_B.double().cpu().numpy()
    return found_N


def _changed(stream: Stream, prompts: Sequence[Prompt], layers: range, delta_BD: np.ndarray) -> AbstractContextManager[None]:
    delta = torch.as_tensor(delta_BD, dtype=torch.float32, device=stream.model.device)
    return edited_outputs(stream.blocks[layers.start : layers.stop], _adding([prompt.period for prompt in prompts], delta))


def _adding(periods: Sequence[int], delta_BD: Tensor) -> Edit:
    """A vector of each row is added at its period and the token before."""
    places_B2 = torch.tensor([[max(0, period - 1), period] for period in periods], device=delta_BD.device)
    rows_B1 = torch.arange(len(periods), device=delta_BD.device)[:, None]

    def add(hidden_BTD: Tensor) -> Tensor:
        changed_BTD = hidden_BTD.clone()
        there_B2D = hidden_BTD[rows_B1, places_B2].float() + delta_BD[:, None]
        changed_BTD[rows_B1, places_B2] = there_B2D.to(hidden_BTD.dtype)
        return changed_BTD

    return add


def indirect_effect(
    before_N: np.ndarray, after_N: np.ndarray, labels_N: np.ndarray, counts_RN: np.ndarray | None = None
) -> np.ndarray:
    """The mean of the two normalised effects, false to true and true to false: 0 for none, 1 for all that is possible; (R,) or (1,).

    before_N, after_N: P(TRUE) - P(FALSE) without and with the intervention; it was added for false statements, taken from true ones
    counts_RN: how often each statement counts, for a bootstrap; None is once
    """
    counts_RN = np.ones((1, len(labels_N))) if counts_RN is None else counts_RN
    effects = []
    for is_true, goal in ((False, 1.0), (True, -1.0)):
        weights_RN = counts_RN * (labels_N == is_true)
        was_R, now_R = (weights_RN @ values / weights_RN.sum(axis=1) for values in (before_N, after_N))
        effects.append((now_R - was_R) / (goal - was_R))
    return np.asarray((effects[0] + effects[1]) / 2)
