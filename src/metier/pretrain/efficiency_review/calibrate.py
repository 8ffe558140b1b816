"""How fast this machine is: measured once, kept per host in metier's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from metier.artifacts import Model, atomic_write
from metier.models.precision import best_device
from metier.models.source import cache_folder
from metier.pretrain.efficiency_review.probe import ServingCosts, ServingJob, TrainingCosts, TrainingJob
from metier.progress import task

VERSION = 1  # of what is measured and how: raise it when the engine or the probe changes
TIMEOUT_SECONDS = 600
Found = TypeVar("Found", TrainingCosts, ServingCosts)


@dataclass(frozen=True)
class Machine:
    """flops: operations a second of matrix products by dtype; bandwidth: bytes a second read and written by a copy in memory"""

    flops: dict[str, float]
    bandwidth: float
    memory_bytes: int
    threads: int


def machine(*, fresh: bool = False) -> Machine:
    """This machine, from the cache unless `fresh`."""
    found = None if fresh else _read().get("machine")
    if found is None:
        found = asdict(_measure())
        _write(lambda known: known | {"machine": found})
    return Machine(**found)


def training_costs(model: Model, job: TrainingJob, *, fresh: bool = False) -> TrainingCosts:
    """What steps of this training take here, from the cache or by doing some (a minute)."""
    return _tried(model, "training", job, TrainingCosts, fresh)


def serving_costs(model: Model, job: ServingJob, *, fresh: bool = False) -> ServingCosts:
    """What reading and writing takes here, from the cache or by doing some."""
    return _tried(model, "serving", job, ServingCosts, fresh)


def _tried(model: Model, kind: str, job: TrainingJob | ServingJob, result: type[Found], fresh: bool) -> Found:
    about = {name: value for name, value in asdict(job).items() if name != "folder"}
    key = hashlib.sha256(json.dumps([kind, model.fingerprint(), about], sort_keys=True).encode()).hexdigest()[:16]
    found = None if fresh else _read().get(key)
    if found is None or set(found) != {field.name for field in fields(result)}:
        with task(f"trying {kind} on this machine", unit="step"):
            found = _in_process({"kind": kind} | asdict(job))
        _write(lambda known: known | {key: found})
    return result(**found)


def _in_process(job: dict[str, Any]) -> dict[str, Any]:
    """Raises RuntimeError with the last words of a trial that failed."""
    command = [sys.executable, "-m", "metier.pretrain.efficiency_review.probe"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    try:
        done = subprocess.run(
            command, input=json.dumps(job), capture_output=True, text=True, env=environment, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"a trial on this machine did not end within {TIMEOUT_SECONDS} s: name a GPU to plan for") from error
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeError(f"a trial of {job['kind']} on this machine failed: {words[0]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _measure() -> Machine:
    import psutil

    device = best_device()
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else psutil.virtual_memory().total
    speeds = {str(dtype).removeprefix("torch."): _products(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    return Machine(speeds, _copies(device), int(memory), torch.get_num_threads())


def _products(dtype: torch.dtype, device: torch.device) -> float:
    side = 8192 if device.type == "cuda" else 1024
    left = torch.ones(side, side, dtype=dtype, device=device)
    return 2 * side**3 / _best(lambda: (left @ left)[0, 0].item())


def _copies(device: torch.device) -> float:
    source = torch.ones(1 << 26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source)[0].item())


def _best(action: Callable[[], object], seconds: float = 1.0) -> float:
    action()  # the first one also prepares kernels and pages
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - began)
    return best


def _file() -> Path:
    """This host's with these threads and this torch: what machines share a folder, or what changes, is measured apart."""
    import platform

    device = best_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    what = [VERSION, platform.node(), name, os.cpu_count(), torch.get_num_threads(), torch.__version__]
    return cache_folder() / "calibration" / f"{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}.json"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _read() -> dict[str, Any]:
    file = _file()
    return json.loads(file.read_text()) if file.is_file() else {}  # type: ignore[no-any-return]


def _write(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, json.dumps(change(_read()), indent=1))
