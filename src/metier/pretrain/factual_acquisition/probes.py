"""Cloze probes of facts: which tokens are the answer, and how probable the model holds them while it is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metier.engines.text.pack import best_fit
from metier.engines.text.sequences import IGNORED, TokenSequence, border_tokens
from metier.engines.train.objectives import Causal
from metier.engines.train.processes import fold

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEPTHS = ("memorization", "semantic", "composition")
_TOKENS_AT_ONCE = 4096
_MOST_MADE = 5  # probes of a document that brings none, the paper's number
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")
_CLOSING = re.compile(r"^(.*\S)\s+(\w[^\s]*?)[.!?]$", re.DOTALL)
_FEWEST_WORDS = 5


@dataclass(frozen=True)
class Probe:
    """What a model is asked about a fact: how a context goes on. fact: the document's id; depth: one of DEPTHS"""

    fact: str
    depth: str
    context: str
    target: str


def probes_of(row: Mapping[str, Any]) -> list[Probe]:
    """The probes of a document: of its columns depths, contexts, targets (lists of one length), or, where there are none, its
    sentences cut before their last word (memorization), five at most and spread evenly.

    Raises ValueError for unknown depths, lists that do not pair, and an empty target.
    """
    if not row.get("targets"):
        return list(_made(row))
    depths, contexts, targets = (list(row[name] or []) for name in ("depths", "contexts", "targets"))
    if not len(depths) == len(contexts) == len(targets):
        raise ValueError(
            f"document {row['id']!r}: {len(depths)} depths, {len(contexts)} contexts, {len(targets)} targets: give as many"
        )
    for depth, target in zip(depths, targets, strict=True):
        if depth not in DEPTHS or not target.strip():
            raise ValueError(
                f"document {row['id']!r}: a probe of depth {depth!r} asks for {target!r}: give one of {DEPTHS}, and a target"
            )
    return [Probe(row["id"], *parts) for parts in zip(depths, contexts, targets, strict=True)]


def _made(row: Mapping[str, Any]) -> Iterator[Probe]:
    sentences = [match for part in _SENTENCE.findall(row["text"]) if (match := _CLOSING.match(part.strip())) is not None]
    usable = [match for match in sentences if len(match[1].split()) >= _FEWEST_WORDS]
    for number in range(min(_MOST_MADE, len(usable))):
        match = usable[number * len(usable) // min(_MOST_MADE, len(usable))]
        yield Probe(row["id"], DEPTHS[0], match[1], match[2])


def sequence_of(probe: Probe, tokenizer: PreTrainedTokenizerBase) -> TokenSequence:
    """The probe's text, tokenised as one, of which only the tokens that overlap the target are predicted.

    Context and target are joined by a space where neither has one. A token that holds the end of the context and the beginning of the
    target is scored whole. Raises ValueError for a tokenizer that cannot say where its tokens stand.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} does not say where its tokens stand: give a fast one")
    begin, _ = border_tokens(tokenizer)
    spaced = not probe.context or probe.context[-1].isspace() or probe.target[0].isspace()
    context = probe.context if spaced else f"{probe.context} "
    encoded = tokenizer(context + probe.target, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    first = len(context) + len(probe.target) - len(probe.target.lstrip())
    ids = [begin, *encoded["input_ids"]]
    scored = [end > first and end > start for start, end in encoded["offset_mapping"]]
    labels = [token if wanted else IGNORED for token, wanted in zip(ids[1:], scored, strict=True)]
    return TokenSequence(ids, [*labels, IGNORED])


class Scorer:
    """Log-probabilities of sequences' predicted tokens by a network that `fit` trains."""

    def __init__(self, sequences: Sequence[TokenSequence], longest: int) -> None:
        """`longest`: tokens of the model's window. Raises ValueError for a sequence that is longer, or predicts nothing."""
        for number, sequence in enumerate(sequences):
            if len(sequence) > longest or not sequence.num_predicted:
                raise ValueError(
                    f"probe {number} has {len(sequence)} tokens, {sequence.num_predicted} of them asked for: at most {longest} fit"
                )
        self._sequences = sequences
        self._rows = best_fit([len(sequence) for sequence in sequences], max(_TOKENS_AT_ONCE, longest))

    @torch.no_grad()
    def __call__(self, network: PreTrainedModel) -> tuple[list[float], list[float]]:
        """For each sequence the mean over its predicted tokens, and the first one's, in nats; the network in evaluation mode, in fp32."""
        training = network.training
        network.eval()
        means, firsts = [0.0] * len(self._sequences), [0.0] * len(self._sequences)
        for row in self._rows:
            chosen = [self._sequences[number] for number in row]
            nll_N = _nll(network, chosen)
            for number, part in zip(row, nll_N.split([sequence.num_predicted for sequence in chosen]), strict=True):
                means[number], firsts[number] = -float(part.mean()), -float(part[0])
        network.train(training)
        fold(network)
        return means, firsts


def _nll(network: PreTrainedModel, sequences: Sequence[TokenSequence]) -> Tensor:
    batch = Causal().batch([sequences], [0], [""])
    batch.pop("sources")
    on_device = {name: value.to(network.device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    found: Tensor = network(**on_device).nll.double().cpu()
    return found
