"""Scores: one row per (item, model) with every number behind a metric, and the comparisons made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from metier.artifacts.comparison import Comparison, Verdict
from metier.artifacts.files import atomic_write
from metier.artifacts.table import Table

if TYPE_CHECKING:
    import daft


def score_row(item: Mapping[str, Any], model: str, metric: str) -> dict[str, Any]:
    """What a row of Scores says of the item that was asked, whatever came of it: without numerator and denominator."""
    named = {name: item[name] for name in ("task", "role", "kind", "prompt", "answer")}
    return {"item": item["id"], "model": model, "metric": metric} | named


class Scores(Table):
    """Rows: item, task, role, kind, model ("base", "candidate", or the source string of a model), metric, numerator, denominator,
    and what the kind gives: prompt, options, gold, answer, chosen, completion, extracted, logprobs, num_tokens, num_bytes.

    A task's value is sum(numerator) / sum(denominator): correct answers by answers, bits by bytes.
    """

    required = ("item", "task", "role", "kind", "model", "metric", "numerator", "denominator")

    def __init__(
        self,
        frame: daft.DataFrame,
        path: Path | None = None,
        *,
        comparisons: Sequence[Comparison] = (),
        verdict: Verdict | None = None,
    ) -> None:
        super().__init__(frame, path)
        self.comparisons, self.verdict = list(comparisons), verdict
        if path is not None and (path / "summary.json").is_file():
            summary = json.loads((path / "summary.json").read_text())
            self.comparisons = [Comparison(**row) for row in summary["comparisons"]]
            self.verdict = Verdict(**summary["verdict"]) if summary["verdict"] is not None else None

    def save(self, folder: Path) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        summary = {
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "verdict": asdict(self.verdict) if self.verdict is not None else None,
        }
        atomic_write(folder / "summary.json", json.dumps(summary, indent=1))
        return super().save(folder)
