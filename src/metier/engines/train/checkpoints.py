"""Checkpoints that are complete or ignored, and training that stops politely."""

from __future__ import annotations

import errno
import json
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

import torch
from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from metier.artifacts import atomic_write

logger = logging.getLogger(__name__)

COMPLETE = "complete"  # a file that is written into a checkpoint after everything else
IDENTITY = "training.json"  # what the checkpoints beside it are of


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


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Says what is trained in `folder`. Raises ValueError when a checkpoint there is of another training, naming what differs."""
    file = folder / IDENTITY
    if latest(folder) is not None and file.is_file():
        before = json.loads(file.read_text())
        differing = sorted(name for name in before.keys() | identity.keys() if before.get(name) != identity.get(name))
        if differing:
            changes = ", ".join(f"{name} {before.get(name)!r} then, {identity.get(name)!r} now" for name in differing)
            raise ValueError(
                f"{folder} holds the checkpoint of another training ({changes}): give another workdir, or delete this one to begin again"
            )
    atomic_write(file, json.dumps(identity, indent=1))


@contextmanager
def full_disk_named(folder: Path, size_bytes: int) -> Iterator[None]:
    """Writers of weights tell of a full disk in words of their own; here it is an OSError with ENOSPC.

    size_bytes: of what is being written. An error with less than that left on the disk is taken for the disk's.
    """
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if shutil.disk_usage(folder).free >= size_bytes:
            raise
        raise OSError(
            errno.ENOSPC, f"no space left for {size_bytes / 1e6:.0f} MB of weights and optimizer state", str(folder)
        ) from error


class Checkpoints(TrainerCallback):
    """Saves every `seconds`, and when asked to stop; keeps the newest complete checkpoint until the next one is complete."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._saved = time.monotonic()
        self.stop = threading.Event()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        stop, due = self.stop.is_set(), time.monotonic() - self._saved >= self._seconds
        if args.world_size > 1:
            stop, due = _anywhere([stop, due], args.device)
        if stop:
            self.stop.set()
            control.should_training_stop = True
        if state.global_step < state.max_steps and (stop or due):
            control.should_save = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        folder = Path(args.output_dir)
        done = folder / f"checkpoint-{state.global_step}"
        if args.world_size > 1:
            torch.distributed.barrier()  # each process writes a part of the checkpoint
        if state.is_world_process_zero:
            (done / COMPLETE).touch()
            for checkpoint in folder.glob("checkpoint-*"):
                if checkpoint != done:
                    shutil.rmtree(checkpoint, ignore_errors=True)
        self._saved = time.monotonic()


def _anywhere(flags: list[bool], device: torch.device) -> list[bool]:
    """Each flag as any process has it: saving needs all processes at the same step, and their clocks and signals differ."""
    shared = torch.tensor(flags, dtype=torch.int32, device=device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in shared.tolist()]


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
