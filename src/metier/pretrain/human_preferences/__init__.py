"""`pretrain.human_preferences`: pretraining that knows how good each sentence is."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metier.artifacts import Corpus, Model
from metier.method import method

if TYPE_CHECKING:
    from metier.engines.train.objectives import Objective
    from metier.engines.train.processes import Processes
    from metier.pretrain.human_preferences.segments import Tags

logger = logging.getLogger(__name__)

Objectives = Literal["mle", "filtering", "conditional", "unlikelihood", "rwr", "awr"]
_USED = {  # which settings each objective knows
    "mle": (),
    "filtering": ("threshold",),
    "conditional": ("threshold", "drop"),
    "unlikelihood": ("threshold", "alpha"),
    "rwr": ("beta",),
    "awr": ("alpha", "beta"),
}
DISGUISED = 1.1  # ratio of large to small weights below which a weighted objective is hardly another one than MLE
LEAST_SHARE = 0.05  # of segments with a tag, below which it is not learnt well


@method(
    paper="Pretraining Language Models with Human Preferences, arXiv 2302.08582, section 2",
    claim="text written after the good tag is better by the score, and worse after the bad one, than that of plain pretraining",
)
def human_preferences(
    model: Model,
    corpus: Corpus,
    held_out: Corpus | None = None,
    *,
    objective: Objectives = "conditional",
    threshold: float | None = None,
    drop: float | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    epochs: float = 1.0,
    tokens: int | None = None,
    learning_rate: float = 5e-4,
    sequence_length: int = 1024,
    batch_tokens: int = 65_536,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model after reading a scored corpus (columns segments and scores, from `pretrain.human_preferences.scored`; higher is worse).

    A new model (`models.load` of random weights) gets its preferences from the start, which was best in the paper; one that is already
    trained gets them late. "conditional" adds two tokens, <|aligned|> and <|misaligned|>, and sets one before every segment, by its
    score; write with `pretrain.human_preferences.samples`, or begin a prompt with <|aligned|>. All objectives read segments tokenised
    one by one and the same number of tokens. `held_out` (scored, too) is measured by plain likelihood, after the good tag where there are tags,
    and never on the tags.

    Every weight is trained: a low-rank adapter would not learn the tags. Differs from the authors' code: 0 is a threshold like others (there
    it means none); RWR has no value of -1/2 in its weights; documents attend to themselves alone; beta is by default what spreads the weights,
    where the paper's 10 leaves them within 10% of each other for scores from 0 to 1. The corpus is held in memory.

    Raises ValueError for a setting that the objective does not know, for missing, unequal or non-finite scores, for a threshold that
    leaves one kind of segment, and for AWR with scores outside 0 to 1, where its values lie.
    Settings:
        objective: mle; filtering (mle on the better documents); conditional; unlikelihood; rwr and awr (reward-weighted)
        threshold: the highest score that is good, of segments, for filtering of documents (mean of their segments); null for the median
        drop: share of segments without a tag; null for 0.01
        alpha: of unlikelihood the weight of bad tokens, null for 1; of awr the share of likelihood against value loss, null for 0.5
        beta: rewards are divided by it; null for the standard deviation of the scores; small ones weigh more unequally
        epochs: how often the whole corpus is read, or as many tokens of what filtering left; ignored when `tokens` is given
        tokens: how many are read, null for `epochs`
        learning_rate: the peak; the paper's 5e-4 is for 124M weights from scratch, 1e-4 suits a trained model
        sequence_length: tokens of a row; longer documents are cut
        batch_tokens: tokens of an optimiser step; the paper's 64 rows of 1024
        precision: of the arithmetic; auto is bfloat16 where the machine is fast at it
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    from metier.engines.train.processes import gathered

    given = {"threshold": threshold, "drop": drop, "alpha": alpha, "beta": beta}
    _check(objective, given, batch_tokens)
    documents = _documents(corpus)
    scores = [score for row in documents for score in row["scores"]]
    if objective == "filtering":
        limit = threshold if threshold is not None else statistics.median(map(_mean, documents))
        chosen = [row for row in documents if _mean(row) <= limit]
    else:
        limit = threshold if threshold is not None else statistics.median(scores)
        chosen = documents
    if objective in ("filtering", "conditional", "unlikelihood"):
        _check_shares(objective, limit, [_mean(row) for row in documents] if objective == "filtering" else scores)
    if objective == "awr" and not 0 <= min(scores) <= max(scores) <= 1:
        raise ValueError(
            f"awr expects rewards from -1 to 0, and scores go from {min(scores)} to {max(scores)}: scale them to 0 to 1"
        )
    trained_on = _objective(objective, scores, limit, alpha, beta)
    unseen = _documents(held_out) if held_out is not None else []
    with gathered() as processes:
        workdir, tags = processes.folder(workdir, "preferences"), None
        if objective == "conditional":
            model, tags = _with_tags(model, limit, 0.01 if drop is None else drop, seed, workdir / "tagged", processes)
        return _fit(
            model, documents, chosen, unseen, tags, objective=trained_on, method_name=f"pretrain.human_preferences ({objective})",
            epochs=epochs, tokens=tokens, learning_rate=learning_rate, sequence_length=sequence_length, batch_tokens=batch_tokens,
            precision=precision, checkpoint_seconds=checkpoint_seconds, seed=seed, workdir=workdir,
        )  # fmt: skip


def _check(objective: str, given: Mapping[str, float | None], batch_tokens: int) -> None:
    for name, value in given.items():
        if value is not None and name not in _USED[objective]:
            known = ", ".join(_USED[objective]) or "none of these settings"
            raise ValueError(f"{name}={value} changes nothing in {objective}, which knows {known}: leave it out")
    drop, alpha, beta = given["drop"], given["alpha"], given["beta"]
    if drop is not None and not 0 <= drop < 1:
        raise ValueError(f"drop={drop} is no share of the segments: give a number from 0 up to but not 1")
    if alpha is not None and not (alpha >= 0 if objective == "unlikelihood" else 0 <= alpha <= 1):
        raise ValueError(f"alpha={alpha} is no weight of {objective}: give 0 or more, for awr at most 1")
    if beta is not None and not beta > 0:
        raise ValueError(f"beta={beta} divides rewards: give a positive number")
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens={batch_tokens} trains nothing: give at least one row's")


def _documents(corpus: Corpus) -> list[dict[str, Any]]:
    """Rows with segments. Raises ValueError where scores are missing, not as many, or no numbers."""
    from math import isfinite

    missing = {"segments", "scores"} - set(corpus.frame().column_names)
    if missing:
        raise ValueError(f"the corpus has no columns {sorted(missing)}: make them with pretrain.human_preferences.scored")
    rows = [row for row in corpus.rows() if row["segments"]]
    if not rows:
        raise ValueError("the corpus holds no segment to train on: look at the counts of the stages before")
    for row in rows:
        if len(row["scores"]) != len(row["segments"]):
            raise ValueError(
                f"document {row['id']} has {len(row['segments'])} segments and {len(row['scores'])} scores: score it again"
            )
        bad = [score for score in row["scores"] if score is None or not isfinite(score)]
        if bad:
            raise ValueError(f"document {row['id']} has the score {bad[0]}: drop the document, or mend the scorer")
    return rows


def _mean(row: Mapping[str, Any]) -> float:
    return float(statistics.fmean(row["scores"]))


def _check_shares(objective: str, limit: float, scores: Sequence[float]) -> None:
    share = sum(score <= limit for score in scores) / len(scores)
    what = "documents" if objective == "filtering" else "segments"
    logger.info("%.1f%% of %d %s have a score up to %g", 100 * share, len(scores), what, limit)
    if share in (0, 1):
        raise ValueError(
            f"threshold={limit} leaves {'all' if share else 'no'} {what} good, whose scores go from {min(scores)} to {max(scores)}: give one "
            "between them (where most have the lowest score, that score)"
        )
    if not LEAST_SHARE <= share <= 1 - LEAST_SHARE:
        logger.warning(
            "only %.1f%% of the %s are on one side of the threshold: 20 to 80%% are learnt best",
            100 * min(share, 1 - share),
            what,
        )


def _objective(name: str, scores: Sequence[float], limit: float, alpha: float | None, beta: float | None) -> Objective:
    from metier.engines.train.objectives import Causal
    from metier.pretrain.human_preferences.losses import spread
    from metier.pretrain.human_preferences.training import Preference

    if name == "unlikelihood":
        return Preference("unlikelihood", threshold=limit, alpha=1.0 if alpha is None else alpha)
    if name not in ("rwr", "awr"):
        return Causal()
    beta = statistics.pstdev(scores) if beta is None else beta
    if beta == 0:
        raise ValueError(f"all {len(scores)} scores are {scores[0]}, so that there is nothing to prefer: look at the scorer")
    found = spread(scores, beta)
    logger.info("weights at beta %.3g: effective share %.3f, %.3f clamped, ratio %.3g", beta, *found)
    if found.ratio < DISGUISED:
        logger.warning(
            "%s with beta=%g weighs all segments within 10%% of each other: this is plain likelihood; give less", name, beta
        )
    return Preference("rwr", beta=beta) if name == "rwr" else Preference("awr", alpha=0.5 if alpha is None else alpha, beta=beta)


def _with_tags(model: Model, limit: float, drop: float, seed: int, folder: Path, processes: Processes) -> tuple[Model, Tags]:
    """The model with two more tokens, whose rows are the mean of all rows and a little noise (else they are written too often)."""
    from metier.pretrain.human_preferences.segments import ALIGNED, MISALIGNED, Tags
    from metier.pretrain.vocabulary_extension.merges import first_free
    from metier.pretrain.vocabulary_extension.rows import grow

    tokenizer = model.tokenizer()
    known = tokenizer.get_vocab()
    if ALIGNED not in known and MISALIGNED not in known:
        if processes.first and not (folder / "metier.json").is_file():  # an interrupted training goes on from the same files
            network, first = model.load(), first_free(tokenizer)
            tokenizer.add_tokens([ALIGNED, MISALIGNED], special_tokens=True)
            grow(network, [(), ()], first, init="mean", noise=0.01, seed=seed)
            Model.of(network, tokenizer, folder, source=model.facts.get("source", str(model.path)))
        processes.meet()
        model = Model.open(folder)
        known = model.tokenizer().get_vocab()
    return model, Tags(known[ALIGNED], known[MISALIGNED], limit, drop, seed)


def _fit(
    model: Model, documents: Sequence[Mapping[str, Any]], chosen: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]],
    tags: Tags | None, *, objective: Objective, method_name: str, epochs: float, tokens: int | None, learning_rate: float,
    sequence_length: int, batch_tokens: int, precision: Literal["auto", "float32", "bfloat16"], checkpoint_seconds: float, seed: int,
    workdir: Path,
) -> Model:  # fmt: skip
    from dataclasses import replace
    from math import inf

    from metier.engines.text.pack import pack
    from metier.engines.text.sequences import TokenSequence
    from metier.engines.train.fit import Schedule, fit
    from metier.pretrain.human_preferences.segments import measured, tokenize_segments
    from metier.pretrain.human_preferences.training import Preference, ScoredRows, WithValueHead

    tokenizer = model.tokenizer()
    window = getattr(model.config(), "max_position_embeddings", None) or sequence_length
    length = min(sequence_length, window)
    sequences: list[TokenSequence] = [*tokenize_segments(chosen, tokenizer, longest=length, tags=tags)]
    rows = ScoredRows(pack(sequences, sequence_length=length))
    if tokens is None:
        whole = tokenize_segments(documents, tokenizer, longest=length)
        tokens = round(epochs * sum(sequence.num_predicted for sequence in whole))
    schedule = Schedule(
        epochs=tokens / sum(sequence.num_predicted for sequence in sequences),
        rows_per_step=max(1, round(batch_tokens / length)),
        learning_rate=learning_rate,
        warmup=0.01,
        weight_decay=0.1,
    )
    clean = replace(tags, threshold=inf, drop=0.0) if tags is not None else None
    apart = (tags.good, tags.bad) if tags is not None else ()
    unseen: list[TokenSequence] = [
        measured(one, apart) for one in tokenize_segments(held_out, tokenizer, longest=length, tags=clean)
    ]
    return fit(
        model, rows, pack(unseen, sequence_length=length), schedule,
        adapter=WithValueHead() if isinstance(objective, Preference) and objective.kind == "awr" else None,
        precision=precision, checkpoint_seconds=checkpoint_seconds, seed=seed, workdir=workdir, method=method_name, objective=objective,
    )  # fmt: skip
