"""metrics.jsonl: a line a step, cut back to the checkpoint when training resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metier.artifacts import atomic_write


class MetricsFile:
    """Lines of JSON, each with its step, flushed one by one."""

    def __init__(self, path: Path, *, from_step: int) -> None:
        """Lines of steps after `from_step`, which an interrupted attempt wrote and the resumed one will write again, are dropped."""
        self._path = path
        kept: list[str] = []
        if path.is_file():
            for line in path.read_text().splitlines():
                try:
                    if json.loads(line)["step"] <= from_step:
                        kept.append(line)
                except json.JSONDecodeError:  # the last line of a process that was killed while it wrote
                    break
        atomic_write(path, "".join(f"{line}\n" for line in kept))

    def write(self, **numbers: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(numbers) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]
