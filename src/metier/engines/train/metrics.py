"""metrics.jsonl: a line a step, cut back to the checkpoint when training resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metier.artifacts import atomic_write


class MetricsFile:
    """Lines of JSON, each with its step, flushed one by one. Lines with `rolled_back_to` tell of steps that did not stand."""

    def __init__(self, path: Path, *, from_step: int | None = None) -> None:
        """Lines of steps after `from_step`, which an interrupted attempt wrote and the resumed one will write again, are dropped."""
        self._path = path
        if not path.is_file():
            atomic_write(path, "")
        if from_step is not None:
            self.cut(from_step)

    def cut(self, step: int, *, keep_rollbacks: bool = False) -> None:
        """Drops the lines of steps after `step`."""
        kept: list[str] = []
        for line in self._path.read_text().splitlines():
            try:
                found = json.loads(line)
            except json.JSONDecodeError:  # the last line of a process that was killed while it wrote
                break
            if found["step"] <= step or (keep_rollbacks and "rolled_back_to" in found):
                kept.append(line)
        atomic_write(self._path, "".join(f"{line}\n" for line in kept))

    def write(self, **numbers: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(numbers) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]
