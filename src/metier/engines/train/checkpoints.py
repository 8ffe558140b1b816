"""Checkpoints that are complete or ignored, and training that stops politely."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as read_tensors
from torch.distributed.checkpoint.state_dict_saver import save as write_tensors

from metier.artifacts import atomic_write
from metier.engines.train.processes import Processes

logger = logging.getLogger(__name__)

COMPLETE = "complete"  # a file that is written into a checkpoint after everything else
IDENTITY = "training.json"  # what the checkpoints beside it are of
STATE = "state.json"


def complete(folder: Path) -> list[Path]:
    """The complete checkpoints below `folder`, oldest first; incomplete ones, left by a kill while saving, are removed."""
    found = []
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of):
        if (checkpoint / COMPLETE).is_file():
            found.append(checkpoint)
        else:
            logger.info("%s was not saved to its end and is removed", checkpoint)
            shutil.rmtree(checkpoint, ignore_errors=True)
    return found


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint below `folder`, or None."""
    found = complete(folder)
    return found[-1] if found else None


def step_of(checkpoint: Path) -> int:
    """How many steps had been done."""
    return int(checkpoint.name.rpartition("-")[2])


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Says what is trained in `folder`. Raises ValueError when a checkpoint there is of another training, naming what differs."""
    file = folder / IDENTITY
    if latest(folder) is not None and file.is_file():
        before, now = json.loads(file.read_text()), json.loads(json.dumps(identity))
        differing = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        if differing:
            changes = ", ".join(f"{name} {before.get(name)!r} then, {now.get(name)!r} now" for name in differing)
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
    except (RuntimeError, SafetensorError, CheckpointException) as error:
        if shutil.disk_usage(folder).free >= size_bytes:
            raise
        raise OSError(
            errno.ENOSPC, f"no space left for {size_bytes / 1e6:.0f} MB of weights and optimizer state", str(folder)
        ) from error


def save(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, processes: Processes, state: dict[str, Any], *, keep: int
) -> None:
    """Writes checkpoint-STEP below `folder`, whole or not at all, and removes all but the newest `keep`. state: JSON, with `step`."""
    done = folder / f"checkpoint-{state['step']}"
    tensors = _of_network(network) | _of_optimizer(network, optimizer)
    with full_disk_named(folder, sum(tensor.nbytes for tensor in tensors.values())):
        if processes.first:
            shutil.rmtree(done, ignore_errors=True)
            done.mkdir()
        processes.meet()
        with _alone_is_fine():
            write_tensors(tensors, checkpoint_id=done, no_dist=processes.world == 1)
    if processes.first:
        (done / STATE).write_text(json.dumps(state))
        (done / COMPLETE).touch()
        for checkpoint in complete(folder)[:-keep]:
            remove(checkpoint)
    processes.meet()


def remove(checkpoint: Path) -> None:
    """Removes a checkpoint; half removed it is an incomplete one."""
    (checkpoint / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def load(checkpoint: Path, network: nn.Module, optimizer: torch.optim.Optimizer, processes: Processes) -> dict[str, Any]:
    """Fills trained weights, buffers and the optimiser's state from a checkpoint, whatever number of processes wrote it; gives its state.

    Raises ValueError when the checkpoint is of other weights.
    """
    stored = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    weights, tensors = _trained(network), _of_network(network)
    missing = sorted(tensors.keys() - stored.keys())
    if missing:
        raise ValueError(f"{checkpoint} lacks the {missing[0]}: it is of another model; give another workdir")
    optimizer.state.clear()  # of steps that are gone back behind
    for name in stored.keys() - tensors.keys():
        kind, _, parameter = name.partition(" ")
        entry, weight = stored[name], weights[parameter]
        assert isinstance(entry, TensorStorageMetadata)  # nothing else is written
        size, dtype = entry.size, entry.properties.dtype
        tensors[name] = torch.empty_like(weight, dtype=dtype) if size == weight.shape else torch.empty(size, dtype=dtype)
        optimizer.state[weight][kind] = tensors[name]
    with _alone_is_fine():
        read_tensors(tensors, checkpoint_id=checkpoint, no_dist=processes.world == 1)
    return dict(json.loads((checkpoint / STATE).read_text()))


@contextmanager
def _alone_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def _of_network(network: nn.Module) -> dict[str, Tensor]:
    """Trained weights and the buffers that a model stores, by kind and name."""
    found = {f"weight {name}": weight.detach() for name, weight in _trained(network).items()}
    kept = network.state_dict().keys()
    return found | {f"buffer {name}": buffer for name, buffer in network.named_buffers() if name in kept}


def _of_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{kind} {name}": value
        for name, weight in _trained(network).items()
        for kind, value in optimizer.state.get(weight, {}).items()
        if isinstance(value, Tensor)
    }


class Keeper:
    """Says when to save: every `seconds`, and when asked to stop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._saved = time.monotonic()
        self.stop = threading.Event()

    def is_due(self, processes: Processes) -> bool:
        """Whether to save now, the same in all processes; `stop` is set in each when it is in one."""
        stop, due = processes.anywhere(self.stop.is_set(), time.monotonic() - self._saved >= self._seconds)
        if stop:
            self.stop.set()
        return stop or due

    def saved(self) -> None:
        self._saved = time.monotonic()


@contextmanager
def stopping_politely(keeper: Keeper) -> Iterator[None]:
    """Ctrl-C and SIGTERM end training after the step at hand, once it is saved; a second Ctrl-C ends it at once.

    Raises KeyboardInterrupt at the end of a block that was stopped. Outside the main thread signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _: FrameType | None) -> None:
        if keeper.stop.is_set():
            raise KeyboardInterrupt
        keeper.stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if keeper.stop.is_set():
        raise KeyboardInterrupt
