"""Everything that is measured in one model while it is in memory, of itself and with what comes from another one."""
# N pairs, statements or prompts, L blocks, S tokens after the examples, D hidden size

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from metier.engines.inspect.directions import centred, mean_difference
from metier.engines.inspect.neurons import Neurons, entropy_neurons
from metier.engines.inspect.questions import Asked
from metier.engines.inspect.refusal import Grid, ablated, added, direction_grid, refuses
from metier.engines.inspect.stream import Stream
from metier.engines.inspect.tracing import Margins, patch, true_states
from metier.engines.inspect.truth import verdicts

if TYPE_CHECKING:
    from torch import Tensor

NUM_PLACES = 4  # last tokens of a prompt at which the refusal direction is read


@dataclass(frozen=True)
class Where:
    """Shares of the depth, how much of the refusal direction is added, and the accuracy below which nothing is mapped."""

    truth_layers: tuple[float, float]
    refusal_layer: float
    strength: float
    min_accuracy: float
    seed: int


@dataclass(frozen=True)
class Rates:
    """Whether each test prompt was refused: harmful ones without the direction, harmless ones with it added."""

    ablation: np.ndarray
    addition: np.ndarray


@dataclass(frozen=True)
class Refusal:
    """A model's refusal direction.

    grid: at all layers and places; states: what the block at `layer` reads at the last token of each prompt, (N, D); direction: their
    difference of means, (D,); harmful, harmless: whether each test prompt is refused as the model is; own: with its own direction
    """

    layer: int
    grid: Grid
    states: np.ndarray
    direction: np.ndarray
    harmful: np.ndarray
    harmless: np.ndarray
    own: Rates


@dataclass(frozen=True)
class Own:
    """What one model says of itself.

    accuracy: of its verdicts on the pairs; knows: whether that is enough for a map; donor: states of its true prompts (N, L, S, D); map:
    margins (N, L, S); states: at the probe layer, of each statement, centred by set (N, D); direction: of truth (D,); plain, moved:
    P(TRUE) - P(FALSE) without and with its own direction (N,); neurons: a text says why there are none
    map, plain and moved are None where it does not know enough, refusal where no instructions were given
    """

    margins: Margins
    accuracy: float
    knows: bool
    donor: Tensor
    map: np.ndarray | None
    states: np.ndarray
    direction: np.ndarray
    plain: np.ndarray | None
    moved: np.ndarray | None
    refusal: Refusal | None
    neurons: Neurons | str


@dataclass(frozen=True)
class Crossed:
    """What another model's states and directions do in this one: as in Own and Refusal. None where one of the two knows too little."""

    map: np.ndarray | None
    moved: np.ndarray | None
    rates: Rates | None


def examine(stream: Stream, asked: Asked, where: Where) -> Own:
    """All probes of one model."""
    donor_NLSD, margins = true_states(stream, asked.pairs, asked.answers)
    accuracy = margins.num_right() / (2 * len(margins.true))
    knows = accuracy >= where.min_accuracy
    labels_N = np.array([statement.is_true for statement in asked.statements])
    sequences = [prompt.ids[: prompt.period + 1] for prompt in asked.alone]
    layer = stream.layer_at(where.truth_layers[1])
    raw_ND = stream.states_at(sequences, [len(ids) - 1 for ids in sequences], layer).numpy()
    states_ND = centred(raw_ND, [statement.source for statement in asked.statements])
    direction_D = mean_difference(states_ND[asked.trained], labels_N[asked.trained])
    return Own(
        margins=margins,
        accuracy=accuracy,
        knows=knows,
        donor=donor_NLSD,
        map=patch(stream, asked.pairs, asked.answers, donor_NLSD) if knows else None,
        states=states_ND,
        direction=direction_D,
        plain=verdicts(stream, asked.prompts, asked.answers, range(0)) if knows else None,
        moved=_moved(stream, asked, where, direction_D) if knows else None,
        refusal=_refusal(stream, asked, where) if asked.train else None,
        neurons=_neurons(stream),
    )


def cross(stream: Stream, asked: Asked, where: Where, own: Own, other: Own) -> Crossed:
    """What the states and directions of `other` do in the model of `own`, which is the one in memory."""
    both = own.knows and other.knows
    return Crossed(
        map=patch(stream, asked.pairs, asked.answers, other.donor) if both else None,
        moved=_moved(stream, asked, where, other.direction) if both else None,
        rates=_rates(stream, asked, other.refusal.layer, other.refusal.direction * where.strength) if other.refusal else None,
    )


def _moved(stream: Stream, asked: Asked, where: Where, direction_D: np.ndarray) -> np.ndarray:
    """P(TRUE) - P(FALSE) with the direction added to false statements and taken from true ones, (N,)."""
    lowest, highest = (stream.layer_at(share) for share in where.truth_layers)
    signs_N = np.array([-1.0 if statement.is_true else 1.0 for statement in asked.tried])
    return verdicts(stream, asked.prompts, asked.answers, range(lowest, highest + 1), signs_N[:, None] * direction_D)


def _refusal(stream: Stream, asked: Asked, where: Where) -> Refusal:
    layer = stream.layer_at(where.refusal_layer)
    num_places = min(NUM_PLACES, *map(len, asked.train))
    states_ND = stream.states_at(asked.train, [len(ids) - 1 for ids in asked.train], layer, inputs=True).double().numpy()
    direction_D = mean_difference(states_ND, asked.labels)
    return Refusal(
        layer=layer,
        grid=direction_grid(stream, asked.train, asked.labels, num_places=num_places, seed=where.seed),
        states=states_ND,
        direction=direction_D,
        harmful=refuses(stream, asked.tokenizer, asked.harmful),
        harmless=refuses(stream, asked.tokenizer, asked.harmless),
        own=_rates(stream, asked, layer, direction_D * where.strength),
    )


def _rates(stream: Stream, asked: Asked, layer: int, vector_D: np.ndarray) -> Rates:
    vector = torch.from_numpy(vector_D)
    return Rates(
        ablation=refuses(stream, asked.tokenizer, asked.harmful, ablated(stream, vector)),
        addition=refuses(stream, asked.tokenizer, asked.harmless, added(stream, layer, vector)),
    )


def _neurons(stream: Stream) -> Neurons | str:
    try:
        return entropy_neurons(stream.model)
    except ValueError as reason:  # a mixture of experts has no such neurons, and all the rest can be measured
        return str(reason)
