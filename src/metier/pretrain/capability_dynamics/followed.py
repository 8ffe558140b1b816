"""A training whose checkpoints are all asked the same items, as results for capability_dynamics."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metier.artifacts import Corpus, Items, Model, Table
from metier.artifacts.files import work_folder
from metier.engines.generate.open import open_language_model
from metier.engines.text.shards import held_out_rows, lesson
from metier.engines.train.fit import Precision, Schedule, Watch, fit
from metier.engines.train.series import FOLDER, Member, Series, members
from metier.method import method
from metier.models.language_model import LanguageModel
from metier.progress import track

logger = logging.getLogger(__name__)

ANSWERS = "results.jsonl"


class Followed(NamedTuple):
    """model: after the training. results: a row a checkpoint and task, as capability_dynamics reads them, with nats_per_byte besides: of the
    right answer, which is smoother than accuracy early on."""

    model: Model
    results: Table


@method(
    paper="The Fine Line: Navigating Large Language Model Pretraining with Down-streaming Capability Analysis, arXiv 2404.01204",
    claim="every checkpoint of a training asked the same items, so that its capabilities can be followed",
)
def followed(
    model: Model,
    corpus: Corpus,
    items: list[Items],
    held_out: Corpus | None = None,
    *,
    steps: int = 200,
    checkpoints: int = 12,
    learning_rate: float = 1e-3,
    sequence_length: int = 256,
    batch_tokens: int = 8192,
    lr_scheduler_type: str = "constant",
    name: str = "followed",
    domains: dict[str, str] | None = None,
    precision: Precision = "auto",
    seed: int = 0,
    workdir: Path | None = None,
) -> Followed:
    """The model trained on the corpus, and what each of its checkpoints answers: half of them spaced evenly, half on a logarithmic scale.

    A random model is pretrained so, a trained one continued: its role `general` then shows what the specialist loses. A call that was
    interrupted goes on from the last checkpoint and the last answers. Raises ValueError as `ask_series` does.
    Settings:
        steps: optimiser steps
        checkpoints: about how many are kept, the model before training among them; 8 or more for laws, 4 for a verdict
        learning_rate: its peak
        sequence_length: tokens of a row
        batch_tokens: tokens of an optimiser step, rounded to whole rows
        lr_scheduler_type: constant, or cosine, linear, wsd, whose end lifts all tasks; it is noted in the results
        name: what the model is called in the results
        domains: task to domain; null for the items' role (acquired, held_out, general)
        precision: of the arithmetic of training; auto is bfloat16 where the machine is fast at it
    """
    if checkpoints < 2:
        raise ValueError(f"checkpoints={checkpoints} show no course: give 2 or more")
    rows_asked = _check(items)
    folder = work_folder(workdir, "followed")
    rows = lesson(corpus, model.tokenizer(), sequence_length=sequence_length)
    kept = Series(every=max(1, math.ceil(steps / max(1, checkpoints // 2))), spaced=checkpoints - checkpoints // 2)
    trained = fit(
        model,
        rows,
        held_out_rows(held_out, model.tokenizer(), sequence_length=sequence_length),
        Schedule(1, max(1, math.ceil(batch_tokens / sequence_length)), learning_rate, shape=lr_scheduler_type, steps=steps),
        adapter=None,
        precision=precision,
        checkpoint_seconds=120.0,
        seed=seed,
        workdir=folder,
        method="pretrain.capability_dynamics.followed",
        watch=Watch(series=kept),
    )
    facts = {"model": name, "schedule": lr_scheduler_type}
    return Followed(trained, ask_series(folder, rows_asked, facts, domains))


def ask_series(
    folder: Path, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], domains: Mapping[str, str] | None
) -> Table:
    """The results of all members of the series in `folder` on choice items; `facts` (model, schedule) stand in every row.

    Answers are kept in results.jsonl beside the series, by step and task, and not asked again. Raises FileNotFoundError for a folder
    without series.
    """
    series = list(members(folder))
    if not series:
        raise FileNotFoundError(f"{folder / FOLDER} holds no checkpoints: train with Watch(series=Series(...))")
    tasks: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        tasks[row["task"]].append(row)
    file = folder / ANSWERS
    known = {(line["step"], line["task"], line["n"]): line for line in _lines(file)}
    found = []
    for member in track(series, "asking checkpoints", unit="checkpoint"):
        missing = [task for task, asked in tasks.items() if (member.step, task, len(asked)) not in known]
        if missing:
            asker = open_language_model(member.model, dtype="float32", cache=False)
            for task in missing:
                line = {"step": member.step, "task": task} | _asked(asker, tasks[task])
                with file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")
                known[member.step, task, len(tasks[task])] = line
        found += [_row(member, known[member.step, task, len(asked)], asked, facts, domains) for task, asked in tasks.items()]
    return Table.from_rows(found)


def _check(items: Sequence[Items]) -> list[dict[str, Any]]:
    rows = [row for table in items for row in table.rows()]
    if not rows:
        raise ValueError("there are no items to ask the checkpoints")
    if other := next((row for row in rows if row["kind"] != "choice"), None):
        raise ValueError(
            f"item {other['id']!r} is of kind {other['kind']}: checkpoints are asked choices, whose accuracy has a chance level; put texts "
            "into held_out, and measure written answers at the end"
        )
    return rows


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """What was written whole; a line cut off by an interruption is asked again."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            logger.warning("%s ends in a broken line, which is asked again", file)


def _asked(model: LanguageModel, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Share of items whose right option is the likeliest by byte; a tie is wrong."""
    pairs = [(item["prompt"], _continued(item["prompt"], option)) for item in items for option in item["options"]]
    scores = iter(model.score(pairs))
    right, nats = 0, 0.0
    for item in items:
        per_byte = [(score := next(scores)).logprob / max(1, score.num_bytes) for _ in item["options"]]
        best = max(per_byte)
        right += per_byte[item["gold"]] == best and per_byte.count(best) == 1
        nats -= per_byte[item["gold"]] / len(items)
    return {"n": len(items), "right": right, "nats_per_byte": nats}


def _continued(prompt: str, option: str) -> str:
    return option if not prompt or prompt[-1].isspace() else f" {option}"


def _row(
    member: Member,
    line: Mapping[str, Any],
    asked: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    domains: Mapping[str, str] | None,
) -> dict[str, Any]:
    loss = member.numbers.get("held_out_loss", member.numbers.get("loss"))
    return {
        **facts,
        "setup": "choice, log-probability by byte",
        "task": line["task"],
        "domain": (domains or {}).get(line["task"], asked[0]["role"]),
        "step": member.step,
        "tokens_seen": float(member.numbers["tokens"]),
        "params": float(_weights(member.model)),
        "chance": sum(1 / len(item["options"]) for item in asked) / len(asked),
        "value": line["right"] / line["n"],
        "n": line["n"],
        "nats_per_byte": line["nats_per_byte"],
        "loss": None if loss is None else float(loss),
    }


def _weights(model: Model) -> int:
    """Weights by the files' headers, tied ones once."""
    from safetensors import safe_open

    total = 0
    for file in sorted(model.path.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118 (not a mapping)
    return total
