"""What tuning changed inside a model: where it knows, along which direction it holds true, refuses, and how it sets its confidence."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import NamedTuple

import torch

from metier.artifacts import Corpus, Model
from metier.artifacts.table import Table
from metier.engines.inspect.compare import map_rows, neuron_rows, refusal_rows, summary_rows
from metier.engines.inspect.examine import Crossed, Own, Where, cross, examine
from metier.engines.inspect.questions import MIN_PAIRS, ask_both, mismatch, read_instructions, read_statements
from metier.engines.inspect.stream import Stream, open_stream
from metier.method import method
from metier.models.precision import Precision, best_device, resolve_dtype

SUMMARY = ("part", "measure", "of", "value", "low", "high", "num", "note")
MAPS = ("donor", "receiver", "layer", "token", "column", "effect", "binned")
REFUSAL = ("layer", "place", "cosine", "reliability_before", "reliability_after")
NEURONS = ("model", "neuron", "norm", "logit_variance", "shared")


class Mechanics(NamedTuple):
    """What was found.

    summary: part, measure, of (which model; "X in Y" is X's states or direction used in Y), value, low, high (95% bootstrap interval over
        pairs, statements or prompts; null where nothing is drawn), num (of what was drawn), note
    maps: donor, receiver, layer, token (from the right, -1 is the last), column (subject, object, template), effect (mean
        logit(TRUE) - logit(FALSE) of false prompts whose one vector was overwritten), binned
    refusal: layer, place, cosine of the two models' directions there, and what each one's two halves reach with each other
    neurons: model, neuron, norm, logit_variance, shared (whether it is an entropy neuron of both)
    """

    summary: Table
    maps: Table
    refusal: Table
    neurons: Table


@method(
    paper="How Post-Training Reshapes LLMs, arXiv 2504.02904",
    claim="tells what tuning kept inside a model from what it made anew, and says beside each likeness what noise or chance would give",
)
def post_training_mechanics(
    before: Model,
    after: Model,
    statements: Corpus,
    instructions: Corpus | None = None,
    *,
    map_source: str | None = None,
    num_pairs: int = 100,
    num_statements: int = 100,
    truth_layers: tuple[float, float] = (0.25, 0.375),
    refusal_layer: float = 0.344,
    strength: float = 1.0,
    min_accuracy: float = 0.6,
    dtype: Precision = "auto",
    seed: int = 0,
) -> Mechanics:
    """Four probes of a model before and after tuning: knowledge, truth, refusal, confidence. Nothing is changed in either.

    statements: text, label (1 true, 0 false), source (the set it belongs to; two or more sets, so that one can be held out)
    instructions: text, label (1 harmful, 0 harmless), at least 10 of each; None leaves refusal out. None are shipped, no answers are kept.

    Knowledge: one vector of a true prompt's residual stream at a time overwrites that of a false prompt; the map of what the verdict
    becomes is compared between models, and across them (vectors of one in the other). A model whose verdicts on these pairs are right less
    often than `min_accuracy` gets no map and no intervention: it would be noise. Truth: differences of means at the period of each statement,
    sets centred; transfer with each set held out; the intervention is on the mapped set, its direction from the others (from other
    statements of it where there is one set). Refusal: both models read the same tokens (one chat template, the later model's) at the same place,
    and each direction's split-half cosine says what likeness could be seen; the authors read each model at another place. Confidence: as in
    Stolfo et al., on the weights as they stand (the final norm's scale is not folded in).
    A map shows where, not whose: in toys of two layers the vectors of an unrelated model that knew the same facts drew nearly the same map
    (r of 0.84 to 1.0 in seven of eight, proofs/evaluate), so a high r alone does not say that tuning kept the states.
    Directions that come from another model keep the length they had there. Across models of other vocabularies, widths or depths
    nothing is compared but refusal rates and accuracy. Models are in memory one at a time; the earlier one is loaded twice.
    Raises ValueError for statements without labels, too few pairs of one pattern, and instructions without a chat template.
    Settings:
        map_source: the set that is mapped; null takes the one with most pairs
        num_pairs: pairs in the map, at least 20; 238 in the paper for the cities
        num_statements: statements of the mapped set on which the intervention is tried
        truth_layers: shares of the depth between which the truth direction is added; at the second it is read; 8 and 12 of 32 in the paper
        refusal_layer: share of the depth at which the refusal direction is read and added; 11 of 32 in the paper
        strength: how many times the refusal direction is added, 1 being the difference between harmful and harmless prompts
        min_accuracy: least share of right verdicts for a map; above 0.5, which is chance
        dtype: precision that both compute in; auto is bfloat16 where the processor is fast at it, else float32
    """
    _check(num_pairs, num_statements, truth_layers, refusal_layer, strength, min_accuracy)
    where = Where(truth_layers, refusal_layer, strength, min_accuracy, seed)
    known = read_statements(statements)
    split = read_instructions(instructions, seed) if instructions is not None else None
    asked = ask_both(before, after, known, split, map_source, num_pairs, num_statements, seed)
    precision, different = resolve_dtype(dtype, best_device()), mismatch(before, after)
    found: dict[str, Own] = {}
    crossed: dict[str, Crossed] = {}

    def work(name: str, other: str, stream: Stream) -> None:
        if name not in found:
            found[name] = examine(stream, asked[name], where)
        if other in found and different is None:
            crossed[name] = cross(stream, asked[name], where, found[name], found[other])

    _inside(before, precision, lambda stream: work("before", "after", stream))
    _inside(after, precision, lambda stream: work("after", "before", stream))
    if different is None:
        _inside(before, precision, lambda stream: work("before", "after", stream))
    return Mechanics(
        summary=Table.from_rows(summary_rows(asked, found, crossed, different, seed), SUMMARY),
        maps=Table.from_rows(map_rows(asked, found, crossed), MAPS),
        refusal=Table.from_rows(refusal_rows(found, different), REFUSAL),
        neurons=Table.from_rows(neuron_rows(found), NEURONS),
    )


def _inside(model: Model, dtype: torch.dtype, work: Callable[[Stream], None]) -> None:
    """Does the work with the model in memory, alone: what the one before it left is freed first."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    work(open_stream(model.load(dtype).to(best_device())))  # type: ignore[arg-type]


def _check(
    num_pairs: int,
    num_statements: int,
    truth_layers: tuple[float, float],
    refusal_layer: float,
    strength: float,
    min_accuracy: float,
) -> None:
    if num_pairs < MIN_PAIRS:
        raise ValueError(f"num_pairs={num_pairs}: a map of fewer than {MIN_PAIRS} pairs is noise")
    if num_statements < 2:
        raise ValueError(f"num_statements={num_statements}: an intervention needs a true and a false one at least")
    if not 0 <= truth_layers[0] <= truth_layers[1] <= 1:
        raise ValueError(f"truth_layers={truth_layers} are no rising shares of the depth: give two numbers from 0 to 1")
    if not 0 <= refusal_layer <= 1:
        raise ValueError(f"refusal_layer={refusal_layer} is no share of the depth: give a number from 0 to 1")
    if strength <= 0:
        raise ValueError(f"strength={strength} adds nothing of the refusal direction: give a positive number")
    if not 0.5 <= min_accuracy <= 1:
        raise ValueError(f"min_accuracy={min_accuracy}: chance is 0.5; give a share from there to 1")
