"""The one live display of a run: a line a finished stage, and a bar with rate, time left and the number that matters.

Not on a terminal, one line a stage and nothing else.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.text import Text

if TYPE_CHECKING:
    from metier.core.plan import PlannedStage


class Display:
    """Listens to a run (core.run.Watcher) and to its loops (progress.Listener)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.perf_counter()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeLeftColumn(compact=True),
            TextColumn("{task.fields[numbers]}", style="cyan"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[int, TaskID] = {}
        self._units: dict[int, str] = {}
        self._stage: TaskID | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the display was made."""
        return time.perf_counter() - self._began

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begins(self, stage: PlannedStage) -> None:
        self._stage = self._progress.add_task(f"[bold]{stage.name}[/bold]", total=None, rate="", numbers="")
        if not self._console.is_terminal:
            self._console.print(f"{stage.name}: {'goes on' if stage.state == 'resumes' else 'begins'}", highlight=False)

    def ends(self, stage: PlannedStage, folder: Path, facts: dict[str, Any], reused: bool) -> None:
        if self._stage is not None:
            self._progress.remove_task(self._stage)
            self._stage = None
        if reused:
            line = Text.assemble(("· ", "dim"), (f"{stage.name:<12} ", "bold dim"), ("done before", "dim"))
        else:
            peak = facts["peak_memory_bytes"] / 2**30
            used = f"{duration(facts['wall_seconds']):>8}  {peak:4.1f} GiB  "
            line = Text.assemble(("✓ ", "green"), (f"{stage.name:<12} ", "bold"), used, (_summary(folder), "dim"))
        self._console.print(line)

    def start(self, description: str, total: float | None, unit: str) -> int:
        task = self._progress.add_task(f"  {description}", total=total, rate="", numbers="")
        number = int(task)
        self._tasks[number], self._units[number] = task, unit
        return number

    def advance(self, number: int, amount: float, numbers: dict[str, float]) -> None:
        task = self._tasks[number]
        state = self._progress.tasks[self._progress.task_ids.index(task)]
        fields: dict[str, Any] = {}
        if state.speed:
            fields["rate"] = f"{state.speed:,.3g} {self._units[number]}/s"
        if numbers:
            fields["numbers"] = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self._progress.update(task, advance=amount, **fields)

    def finish(self, number: int) -> None:
        self._progress.remove_task(self._tasks.pop(number))
        del self._units[number]


def show_warnings(console: Console) -> None:
    """metier's own warnings appear above the progress display."""
    import logging

    from rich.logging import RichHandler

    handler = RichHandler(console=console, level=logging.WARNING, show_time=False, show_path=False)
    logging.getLogger("metier").addHandler(handler)


def duration(seconds: float) -> str:
    """ "4.2 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _summary(folder: Path) -> str:
    """What a stage's folder says of its result: rows kept and dropped, or the size of a model."""
    import json

    parts = []
    for file in [folder / "funnel.json", *sorted(folder.glob("*/funnel.json"))]:
        if file.is_file():
            funnel = json.loads(file.read_text())
            lost = [f"{sum(funnel[kind].values()):,} {kind}" for kind in ("dropped", "quarantined") if funnel[kind]]
            name = f"{file.parent.name} " if file.parent != folder else ""
            parts.append(f"{name}{funnel['kept']:,} rows" + (f" ({', '.join(lost)})" if lost else ""))
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if weights:
        parts.append(f"model of {weights / 1e6:,.0f} MB")
    return ", ".join(parts)
