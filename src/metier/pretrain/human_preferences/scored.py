"""`pretrain.human_preferences.scored`: documents in segments, each with a score of how bad it is."""

from __future__ import annotations

import importlib
import logging
import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch

from metier.artifacts import Corpus, Model
from metier.artifacts.quiet import quiet_transformers
from metier.method import method
from metier.models.precision import best_device
from metier.pretrain.human_preferences.segments import Unit, split
from metier.progress import track

logger = logging.getLogger(__name__)

Scorer = Callable[[list[str]], Sequence[float]]
AT_ONCE = 32
SHOWN = 5  # best and worst segments in the log

# What names or reaches a person: addresses of mail and machines, numbers of telephones, cards and accounts.
_PERSONAL = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.-]+|\b(?:\d{1,3}\.){3}\d{1,3}\b|(?<![\w.])\+?\d(?:[ ().-]{0,2}\d){8,15}(?![\w.])|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b"
)
# A few rules of PEP 8 that one line shows: E501, W191 and E101, W291 and W293, E231, E702, E711, E712, E722, E271.
_STYLE = re.compile(
    r"^.{79}(?=.)|^ *\t|[ \t]+$|,(?=[^\s\])}'\"])|;(?=\s*\S)|[!=]= (?:None|True|False)\b|\bexcept:|\b(?:if|in|and|or|not|return|import) {2,}",
    re.MULTILINE,
)


@method(
    paper="Pretraining Language Models with Human Preferences, arXiv 2302.08582, section 3 and appendix",
    claim="every segment has a score, and the segments together are the document",
)
def scored(
    corpus: Corpus,
    reward_model: Model | None = None,
    *,
    rule: str | None = None,
    higher_is: Literal["worse", "better"] = "worse",
    segments: Unit = "sentences",
    label: int = -1,
    standardise: bool = False,
) -> Corpus:
    """The corpus with the columns segments (texts; joined they are the document), scores (of each, higher is worse) and avg_score.

    Scores come from a reward model (a sequence classifier: the probability of `label`, or its single output as it is) or from a rule.
    The best and the worst segments are logged: look at them, since a reward taken for a badness teaches the opposite. Raises ValueError
    for both or neither, for an unknown rule, for a score that is no finite number, and where the answers are not as many as the segments.
    Settings:
        rule: personal_data (addresses, telephone, card and account numbers, matches a character), python_style (breaches of some rules
            of PEP 8 a character), or package.module:function of your own from a list of texts to as many numbers
        higher_is: what a high answer of scorer or rule means; better makes scores its negative
        segments: sentences or lines, the latter for code
        label: which class of the reward model is meant, counted from 0, -1 the last
        standardise: whether scores are made to have mean 0 and standard deviation 1 over all segments
    """
    if (rule is None) == (reward_model is None):
        raise ValueError("scores come from a reward_model or from a rule: give one of them")
    scorer = _classifier(reward_model, label) if reward_model is not None else _rule(rule or "")
    rows = [row | {"segments": split(row["text"], segments)} for row in corpus.rows()]
    texts = [segment for row in rows for segment in row["segments"]]
    answers: list[float] = []
    for batch in track(list(_batches(texts)), "scoring", unit="batch"):
        found = [float(answer) for answer in scorer(batch)]
        if len(found) != len(batch):
            raise ValueError(f"the scorer gave {len(found)} scores for {len(batch)} segments: it must give one for each")
        bad = [(answer, text) for answer, text in zip(found, batch, strict=True) if not math.isfinite(answer)]
        if bad:
            raise ValueError(f"the scorer gave {bad[0][0]} for {bad[0][1][:80]!r}: a score must be a finite number")
        answers += found
    scores = [-answer if higher_is == "better" else answer for answer in answers]
    if standardise and scores:
        mean, deviation = statistics.fmean(scores), statistics.pstdev(scores)
        if deviation == 0:
            raise ValueError(f"all {len(scores)} scores are {scores[0]} and have no spread to standardise: look at the scorer")
        scores = [(score - mean) / deviation for score in scores]
    _log(texts, scores)
    places = iter(scores)
    for row in rows:
        row["scores"] = [next(places) for _ in row["segments"]]
        row["avg_score"] = statistics.fmean(row["scores"]) if row["scores"] else None
    return Corpus.from_rows(rows, columns=["id", "text", "source", "segments", "scores", "avg_score"])


def personal_data(texts: list[str]) -> list[float]:
    """Matches of addresses and numbers of persons, a character."""
    return [len(_PERSONAL.findall(text)) / max(1, len(text)) for text in texts]


def python_style(texts: list[str]) -> list[float]:
    """Breaches of some rules of PEP 8 that one line shows, a character."""
    return [len(_STYLE.findall(text)) / max(1, len(text)) for text in texts]


def _rule(name: str) -> Scorer:
    own: dict[str, Scorer] = {"personal_data": personal_data, "python_style": python_style}
    if name in own:
        return own[name]
    module, _, attribute = name.partition(":")
    try:
        found: Scorer = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"rule={name!r} is neither personal_data nor python_style nor a function package.module:function: {error}"
        ) from error
    return found


def _classifier(model: Model, label: int) -> Scorer:
    from transformers import AutoModelForSequenceClassification

    architectures = model.config().architectures or ["?"]
    if not architectures[0].endswith("ForSequenceClassification"):
        raise ValueError(f"{model.path} is a {architectures[0]}, which gives no reward: give a ...ForSequenceClassification")
    with quiet_transformers():
        network = AutoModelForSequenceClassification.from_pretrained(model.path, use_safetensors=True, trust_remote_code=False)
    network.eval().to(best_device())
    tokenizer = model.tokenizer()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    network.config.pad_token_id = tokenizer.pad_token_id
    window = getattr(network.config, "max_position_embeddings", None)

    @torch.inference_mode()
    def scores(texts: list[str]) -> list[float]:
        batch: Any = tokenizer(texts, return_tensors="pt", padding=True, truncation=window is not None, max_length=window)
        logits = network(**batch.to(network.device)).logits.float()
        if logits.shape[1] == 1:
            return logits[:, 0].tolist()  # type: ignore[no-any-return]
        several = network.config.problem_type == "multi_label_classification"
        return (logits.sigmoid() if several else logits.softmax(-1))[:, label].tolist()  # type: ignore[no-any-return]

    return scores


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), AT_ONCE):
        yield list(texts[start : start + AT_ONCE])


def _log(texts: Sequence[str], scores: Sequence[float]) -> None:
    order = sorted(range(len(texts)), key=lambda number: scores[number])
    for name, chosen in (("best", order[:SHOWN]), ("worst", order[::-1][:SHOWN])):
        for number in chosen:
            logger.info("%s segment, score %.4g: %r", name, scores[number], texts[number][:80])
    if len(set(scores)) == 1:
        logger.warning("all %d segments have the score %g: there is nothing to prefer", len(scores), scores[0])
