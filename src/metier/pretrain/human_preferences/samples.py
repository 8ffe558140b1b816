"""`pretrain.human_preferences.samples`: texts that a model with control tokens writes after one of them."""
# B rows, V vocabulary

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch

from metier.artifacts import Corpus, Model
from metier.engines.generate.backend import Sampling
from metier.engines.generate.decode import Running, decode
from metier.engines.text.sequences import border_tokens
from metier.method import method
from metier.models.language_model import Completion
from metier.models.precision import best_device
from metier.pretrain.human_preferences.segments import ALIGNED, MISALIGNED
from metier.progress import track

logger = logging.getLogger(__name__)

Tag = Literal["aligned", "misaligned", "none"]
AT_ONCE = {"cpu": 32, "cuda": 256}


@method(
    paper="Pretraining Language Models with Human Preferences, arXiv 2302.08582, section 2; guidance: arXiv 2306.17806",
    claim="no control token is ever written, and guidance 0 is plain sampling after the tag",
)
def samples(
    model: Model,
    prompts: Corpus | None = None,
    *,
    tag: Tag = "aligned",
    guidance: float = 0.0,
    num_samples: int = 100,
    max_new_tokens: int = 128,
    temperature: float = 0.7,
    top_p: float = 0.9,
    seed: int = 0,
) -> Corpus:
    """What the model writes after BOS (EOS where it has none), the tag and the prompt: id, text (without the prompt), source (the tag), prompt.

    Both tags are banned from what is written. With guidance g tokens are drawn by logits a + g (a - m), where a are those after the
    given tag and m those after the other one, in one pass for both. Raises ValueError for a model that has no tags, unless `tag` is "none".
    Settings:
        tag: aligned, misaligned, or none, which a model without tags needs
        guidance: how far from the other tag, 0 for not at all; 0.5 to 2 are usual
        num_samples: texts, where there are no prompts; else one a prompt
        max_new_tokens: at most so many tokens a text
        temperature: of the drawing; 0 takes the likeliest
        top_p: least probability of the tokens that are drawn from
    """
    tokenizer = model.tokenizer()
    known = tokenizer.get_vocab()
    tags = {name: known[word] for name, word in (("aligned", ALIGNED), ("misaligned", MISALIGNED)) if word in known}
    if tag != "none" and len(tags) < 2:
        raise ValueError(f"{model.path} has no tokens {ALIGNED} and {MISALIGNED}: it was not trained with tags; give tag none")
    if tag == "none" and tags:
        logger.warning("%s was trained with tags and writes without one here: give tag aligned", model.path)
    if guidance and tag == "none":
        raise ValueError(f"guidance={guidance} needs a tag to be guided by: give tag aligned or misaligned")
    if num_samples < 1 or max_new_tokens < 1:
        raise ValueError(f"num_samples={num_samples}, max_new_tokens={max_new_tokens}: give 1 or more of both")
    begin, end = border_tokens(tokenizer)
    texts = [row["text"] for row in prompts.rows()] if prompts is not None else [""] * num_samples
    after = [tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] if text else [] for text in texts]
    heads = [[begin] + ([tags[name]] if name != "none" else []) for name in ([tag, *_other(tag)] if guidance else [tag])]
    network = model.load().to(best_device())
    sampling, written = Sampling(max_new_tokens, float(temperature), float(top_p), (), seed), list[Completion]()
    with _steered(network, list(tags.values()), guidance):
        size = AT_ONCE.get(network.device.type, 32)
        for start in track(range(0, len(texts), size), "writing", unit="batch"):
            numbers = range(start, min(start + size, len(texts)))
            # A text and its counterpart after the other tag get the same logits and the same random numbers, so they stay equal.
            rows = [
                Running([*head, *after[number]], max_new_tokens, random.Random(f"{seed} {number}"))
                for head in heads
                for number in numbers
            ]
            written += decode(network, tokenizer, rows, sampling, frozenset({end}))[: len(numbers)]
    return Corpus.from_rows(
        (
            {"id": f"{tag}-{number}", "text": one.text, "source": tag, "prompt": text}
            for number, (one, text) in enumerate(zip(written, texts, strict=True))
        ),
        columns=["id", "text", "source", "prompt"],
    )


def _other(tag: Tag) -> list[Tag]:
    return ["misaligned" if tag == "aligned" else "aligned"]


@contextmanager
def _steered(network: torch.nn.Module, banned: Sequence[int], guidance: float) -> Iterator[None]:
    """Inside the block the network's logits are guided, in a batch whose second half is the counterpart of the first, and ban tokens."""

    def steer(module: torch.nn.Module, _: tuple[Any, ...], output: Any) -> Any:
        logits = output.logits
        if guidance:
            own_BTV, other_BTV = logits.chunk(2)
            guided_BTV = own_BTV.float() + guidance * (own_BTV.float() - other_BTV.float())
            logits = torch.cat([guided_BTV, guided_BTV])
        if banned:
            logits = logits.clone()
            logits[..., list(banned)] = -torch.inf
        output.logits = logits
        return output

    handle = network.register_forward_hook(steer)
    try:
        yield
    finally:
        handle.remove()
