"""Checkpoints that are complete or ignored, and training that stops politely."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)

COMPLETE = "complete"  # a file that is written into a checkpoint after everything else


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint below `folder`, or None; incomplete ones, left by a kill while saving, are removed."""
    found = None
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2])):
        if (checkpoint / COMPLETE).is_file():
            found = checkpoint
        else:
            logger.info("%s was not saved to its end and is removed", checkpoint)
            shutil.rmtree(checkpoint, ignore_errors=True)
    return found


class Checkpoints(TrainerCallback):
    """Saves every `seconds`, and when asked to stop; keeps the newest complete checkpoint until the next one is complete."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._saved = time.monotonic()
        self.stop = threading.Event()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        ends = state.global_step >= state.max_steps
        if self.stop.is_set():
            control.should_training_stop = True
        if not ends and (self.stop.is_set() or time.monotonic() - self._saved >= self._seconds):
            control.should_save = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        folder = Path(args.output_dir)
        done = folder / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            (done / COMPLETE).touch()
            for checkpoint in folder.glob("checkpoint-*"):
                if checkpoint != done:
                    shutil.rmtree(checkpoint, ignore_errors=True)
        self._saved = time.monotonic()


@contextmanager
def stopping_politely(checkpoints: Checkpoints) -> Iterator[None]:
    """Ctrl-C and SIGTERM end training after the step at hand, once it is saved; a second Ctrl-C ends it at once.

    Raises KeyboardInterrupt at the end of a block that was stopped. Outside the main thread signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _: FrameType | None) -> None:
        if checkpoints.stop.is_set():
            raise KeyboardInterrupt
        checkpoints.stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if checkpoints.stop.is_set():
        raise KeyboardInterrupt
