"""`pretrain.factual_acquisition`: how much of a fact a training picks up each time it meets it, and how fast it is lost again."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from metier.artifacts import Corpus, Model, Table
from metier.artifacts.files import work_folder
from metier.method import method
from metier.pretrain.factual_acquisition.results import Findings

if TYPE_CHECKING:
    from metier.engines.text.sequences import TokenSequence

logger = logging.getLogger(__name__)

ARMS = ("paraphrase", "duplication", "once", "control")
LATER = 60  # measurements after the last window, evenly on a logarithmic scale


class FactualAcquisition(NamedTuple):
    """model: after the training. curves: fact, arm, depth, probe, step, logprob (mean over the target's tokens), first (its first token).
    facts: a row for each fact with what it gained by depth (None where it has no such probe), and needs_paraphrase: its wording was
    learnt, and less than half as much of its meaning."""

    model: Model
    curves: Table
    facts: Table
    findings: Findings


@method(
    paper="How Do Large Language Models Acquire Factual Knowledge During Pretraining?, arXiv 2406.11813, sections 3 and 4",
    claim="known effects and lines of forgetting are found again, probes are scored token by token, controls were never met",
)
def factual_acquisition(
    model: Model,
    corpus: Corpus,
    facts: Corpus,
    *,
    arms: dict[str, int] = {"paraphrase": 10, "duplication": 10, "once": 10, "control": 10},  # noqa: B006 (a setting is never changed)
    interval: int = 100,
    injections: int = 10,
    window: int = 50,
    burn_in: int = 100,
    after: int = 1000,
    every: int = 1,
    learning_rate: float = 1e-4,
    sequence_length: int = 1024,
    batch_tokens: int = 16_384,
    iqr: float = 1.5,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> FactualAcquisition:
    """The model trained on the corpus with facts put in at chosen steps, and what that taught it of them.

    `facts` are documents; columns paraphrases, depths, contexts and targets bring wordings and probes (probes.py), without them
    sentences cut before their last word are asked for. Facts are drawn into arms: paraphrase (the document, then each time another
    wording), duplication (the same text every time), once (at the first step only), control (never). Probes are measured every `every`
    steps until the last window ends, then at steps ever further apart.

    Differs from the paper: `control`, without which learning the register counts as learning facts; probes are scored where their tokens
    overlap the target (the authors join ids of parts); intervals draw facts, not probes; probes that gain nothing are counted, not left
    out; lags are evenly spaced in log t, so that the fit is not one of its late end alone. The optimiser begins anew, for a model
    folder has no state: `burn_in` steps come before the first fact, or its jump would be Adam's warming up. Plans hold for this learning
    rate and batch. Raises ValueError for windows that overlap, for facts that do not fit or stand in the
    corpus, too, and where an arm has too few facts.
    Settings:
        arms: facts of each arm, of paraphrase, duplication, once, control; 40 each (and no control) in the paper
        interval: steps between encounters, at least `window`
        injections: encounters; the paper's 10; arm `once` has 1
        window: steps after an encounter in which its effect is looked for; 50, after which Adam with beta 0.9 has forgotten a gradient
        burn_in: steps before the first encounter, in half of which the learning rate rises
        after: steps after the last encounter, more than `window`; about 1,000 in the paper
        every: steps between measurements until the last window ends
        learning_rate: constant; take what the model had when its own training was at this point
        sequence_length: tokens of a row; no fact may be longer
        batch_tokens: tokens of an optimiser step, rounded to whole rows
        iqr: interquartile ranges beyond which a retained share is an outlier; the paper's 1.5, the authors' code has 2.0
        precision: of the arithmetic of training; probes are measured in float32
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    from metier.engines.text.sequences import tokenize_texts
    from metier.engines.text.shards import lesson
    from metier.engines.train.fit import Schedule, Watch, fit
    from metier.engines.train.schedule import Order
    from metier.pretrain.factual_acquisition.injection import inject
    from metier.pretrain.factual_acquisition.measured import Measured, Watcher
    from metier.pretrain.factual_acquisition.probes import probes_of

    _check(arms, interval, injections, window, burn_in, after, every, batch_tokens)
    folder = work_folder(workdir, "facts")
    members = _drawn(list(facts.rows()), arms, injections, seed)
    _check_apart(corpus, members)
    asked = [(arm, probe) for arm, row in members for probe in probes_of(row)]
    if silent := [row["id"] for _, row in members if not probes_of(row)]:
        raise ValueError(
            f"fact {silent[0]!r} has no probe, and no sentence to make one of: give columns depths, contexts, targets"
        )
    tokenizer = model.tokenizer()
    rows = [list(row) for row in lesson(corpus, tokenizer, sequence_length=sequence_length)]
    encounters = [burn_in + interval * number for number in range(injections)]
    documents = {
        step: [_whole(tokenize_texts([(text, arm)], tokenizer, longest=10**9)) for arm, text in _texts(members, number)]
        for number, step in enumerate(encounters)
    }
    rows_per_step = math.ceil(batch_tokens / sequence_length)
    if len(rows) < rows_per_step:
        rows = [rows[number % len(rows)] for number in range(rows_per_step)]
    injected = inject(rows, Order(len(rows), rows_per_step, seed), documents, sequence_length=sequence_length)
    steps = encounters[-1] + after
    watcher = Watcher(asked, tokenizer, model, _times(burn_in, encounters[-1] + window, steps, every), folder / "probes.jsonl")
    schedule = Schedule(1, rows_per_step, learning_rate, warmup=burn_in / 2 / steps, shape="constant", steps=steps)
    logger.info("%d facts, %d probes, %d steps, encounters at %s", len(members), len(asked), steps, encounters)
    trained = fit(
        model,
        injected.rows,
        [],
        schedule,
        adapter=None,
        precision=precision,
        checkpoint_seconds=checkpoint_seconds,
        seed=seed,
        workdir=folder,
        method="pretrain.factual_acquisition",
        watch=Watch(on_step=watcher),
        order=injected.order,
    )
    measured = Measured(asked, watcher.read(), encounters, window, iqr, seed)
    findings = Findings(measured.groups(), measured.plan(), rows_per_step * sequence_length, learning_rate, encounters)
    for group in findings.groups:
        logger.info("%s, %s: effectivity %s, gain %s", group.arm, group.depth, group.effectivity, group.gain)
    return FactualAcquisition(trained, measured.curves(), measured.facts(), findings)


def _check(
    arms: Mapping[str, int], interval: int, injections: int, window: int, burn_in: int, after: int, every: int, batch_tokens: int
) -> None:
    unknown = [name for name in arms if name not in ARMS]
    if unknown or min(arms.values(), default=0) < 0 or not sum(count for name, count in arms.items() if name != "control"):
        raise ValueError(f"arms={arms}: give how many facts of any of {', '.join(ARMS)}, and some that are met")
    if window < 1 or injections < 1 or burn_in < 2:
        raise ValueError(f"window={window}, injections={injections}, burn_in={burn_in}: give 1, 1 and 2, or more")
    if interval < window:
        raise ValueError(
            f"interval={interval} puts the next encounter inside the window={window} of the one before: give at least {window}"
        )
    if after <= window:
        raise ValueError(
            f"after={after} ends within the window={window} of the last encounter, so no forgetting is seen: give more"
        )
    if not 1 <= every <= window:
        raise ValueError(f"every={every}: measure at least once in a window of {window} steps, and at most every step")
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens={batch_tokens} trains nothing: give at least a row's")


def _drawn(rows: list[dict[str, Any]], arms: Mapping[str, int], injections: int, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """Facts with their arms, drawn at random; those with too few paraphrases can't be in that arm."""
    random.Random(seed).shuffle(rows)
    members = []
    for arm in ARMS:
        fit_in = [row for row in rows if arm != "paraphrase" or len(row.get("paraphrases") or []) >= injections - 1]
        chosen = fit_in[: arms.get(arm, 0)]
        if len(chosen) < arms.get(arm, 0):
            need = f" with {injections - 1} paraphrases or more" if arm == "paraphrase" else ""
            raise ValueError(
                f"arms: {arm} wants {arms[arm]} facts{need}, and {len(fit_in)} are left: give more facts, or fewer to the arm"
            )
        taken = {row["id"] for row in chosen}
        rows = [row for row in rows if row["id"] not in taken]
        members += [(arm, row) for row in chosen]
    return members


def _texts(members: Sequence[tuple[str, dict[str, Any]]], number: int) -> list[tuple[str, str]]:
    """What is met at the encounter of this number: (arm, text)."""
    texts = []
    for arm, row in members:
        if arm == "duplication" or (number == 0 and arm != "control"):
            texts.append((arm, row["text"]))
        elif arm == "paraphrase":
            texts.append((arm, row["paraphrases"][number - 1]))
    return texts


def _whole(sequences: Iterator[TokenSequence]) -> TokenSequence:
    for sequence in sequences:
        return sequence
    raise ValueError("a fact or a paraphrase has no text: leave it out")


def _check_apart(corpus: Corpus, members: Sequence[tuple[str, dict[str, Any]]]) -> None:
    texts = {row["text"].strip() for row in corpus.rows() if row["text"]}
    if both := [row["id"] for _, row in members if row["text"].strip() in texts]:
        raise ValueError(
            f"fact {both[0]!r} stands in the corpus, too, so it is met at other steps than those chosen: leave it out there"
        )


def _times(burn_in: int, dense_until: int, steps: int, every: int) -> set[int]:
    """Steps at which probes are measured: before the first encounter, densely, and then ever further apart."""
    later = {dense_until + round((steps - dense_until) ** (place / LATER)) for place in range(LATER + 1)}
    return set(range(burn_in, dense_until + 1, every)) | {dense_until, steps} | {min(step, steps) for step in later}
