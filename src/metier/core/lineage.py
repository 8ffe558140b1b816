"""How an artifact was made: the records (stage.json) of its stage and of all stages it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StageRecord:
    """A finished stage: its folder and its stage.json (docs/architecture.md lists the fields)."""

    folder: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.facts["stage"])

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; none for a stage that wrote no metrics."""
        file = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []

    def funnels(self) -> dict[str, dict[str, Any]]:
        """The counts of each table the stage made, by field ("" for a stage with a single result)."""
        files = [self.folder / "funnel.json", *sorted(self.folder.glob("*/funnel.json"))]
        return {
            "" if file.parent == self.folder else file.parent.name: json.loads(file.read_text())
            for file in files
            if file.is_file()
        }


def stage_folder(path: Path) -> Path | None:
    """The folder of the stage that made what is stored in `path`; None for what no stage made."""
    path = path.resolve()
    return next((folder for folder in (path, path.parent) if (folder / "stage.json").is_file()), None)


def lineage(*paths: Path) -> list[StageRecord]:
    """The records of the stages that made what is stored in `paths` and of all their ancestors, ancestors first."""
    done: dict[Path, StageRecord] = {}

    def visit(folder: Path) -> None:
        if folder in done:
            return
        facts = json.loads((folder / "stage.json").read_text())
        for name in facts["input_folders"].values():
            visit(folder.parent / name)
        done[folder] = StageRecord(folder, facts)

    for path in paths:
        folder = stage_folder(path)
        if folder is not None:
            visit(folder)
    return list(done.values())
