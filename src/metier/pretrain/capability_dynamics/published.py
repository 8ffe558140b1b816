"""Results of published checkpoints in lm-evaluation-harness's form, as a table for capability_dynamics."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

from metier.artifacts import Table
from metier.method import method

logger = logging.getLogger(__name__)

CHANCE = {
    "lambada_openai": 0.0,
    "sciq": 0.25,
    "piqa": 0.5,
    "arc_easy": 0.25,
    "arc_challenge": 0.25,
    "winogrande": 0.5,
    "logiqa": 0.25,
    "wsc": 0.5,
}
_LETTERS = {"m": 1e6, "b": 1e9}


@method(
    paper="Pythia: A Suite for Analyzing Large Language Models Across Training and Scaling, arXiv 2304.01373",
    claim="published accuracies of many checkpoints as one table, with chance, tokens and weights",
    fingerprint=lambda *, path, **_: (
        f"{Path(path).stat().st_size} {Path(path).stat().st_mtime_ns}" if Path(path).is_file() else ""
    ),
)
def published(
    *, path: Path, tokens_per_step: int = 2_097_152, setup: str | None = None, chance: dict[str, float] | None = None
) -> Table:
    """The accuracies in a file of JSON lines {model, shots, step, results: {task: {acc, acc_stderr}}}, for tasks whose chance is known.

    Columns: model, params (read off a name such as pythia-1.4b; null without), setup (shots), task, chance, step, tokens_seen, value, stderr.
    A name that ends in 0.5MtokBS was trained on steps of as many times 2^20 tokens. Tasks without chance or standard error are left out
    and logged. Raises FileNotFoundError, and ValueError for another form.
    Settings:
        path: the file
        tokens_per_step: tokens of an optimiser step; Pythia's 1,024 sequences of 2,048
        setup: only rows of these shots, such as zero-shot; null for all
        chance: task to the share that guessing gets right; null for the eight of Pythia's tasks that have options, and LAMBADA
    """
    rows: list[dict[str, Any]] = []
    left_out: set[str] = set()
    known = CHANCE if chance is None else chance
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = json.loads(line)
        if missing := [name for name in ("model", "shots", "step", "results") if name not in entry]:
            raise ValueError(f"{path}, line {number} lacks {missing[0]!r}: give lines of model, shots, step, results")
        if setup is not None and entry["shots"] != setup:
            continue
        for task, found in entry["results"].items():
            if task not in known or "acc" not in found or "acc_stderr" not in found:
                left_out.add(task)
                continue
            rows.append(
                {
                    "model": entry["model"],
                    "params": _params(entry["model"]),
                    "setup": entry["shots"],
                    "task": task,
                    "chance": known[task],
                    "step": entry["step"],
                    "tokens_seen": float(entry["step"]) * _step_tokens(entry["model"], tokens_per_step),
                    "value": found["acc"],
                    "stderr": found["acc_stderr"],
                }
            )
    if not rows:
        raise ValueError(f"{path} holds no accuracy of setup={setup!r} and the tasks {sorted(known)}")
    logger.info("left out, without chance or standard error: %s", ", ".join(sorted(left_out)) or "none")
    return Table.from_rows(rows)


def _params(model: str) -> float | None:
    found = re.search(r"(?:^|[-_/])(\d+(?:\.\d+)?)([mb])(?:$|[-_])", model.lower())
    return float(found[1]) * _LETTERS[found[2]] if found is not None else None


def _step_tokens(model: str, usual: int) -> float:
    found = re.search(r"(\d+(?:\.\d+)?)MtokBS", model)
    return float(found[1]) * 2**20 if found is not None else usual
