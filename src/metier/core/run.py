"""Executes a plan: each stage once, its result stored whole, the record of how it was made beside it."""

from __future__ import annotations

import errno
import gc
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import to_jsonable_python

from metier.artifacts import Model, atomic_write
from metier.core import host
from metier.core.errors import InputError, RunError
from metier.core.flow import load_flow, save_result
from metier.core.plan import Plan, PlannedStage
from metier.core.recipe import references
from metier.core.signature import is_batch
from metier.method import record_of

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Who is told how a run goes on."""

    def begins(self, stage: PlannedStage) -> None: ...
    def ends(self, stage: PlannedStage, folder: Path, facts: dict[str, Any], reused: bool) -> None: ...


def run(plan: Plan, watcher: Watcher) -> dict[str, Path]:
    """Runs what is not done yet; gives the folder of each stage's result, by stage.

    Raises InputError when a stage finds its input wrong (the stage and its line in front), RunError when it fails otherwise; what
    was finished stays, and the same call goes on from there. KeyboardInterrupt passes through.
    """
    store = plan.store
    folders: dict[str, Path] = {}
    with store.lock():
        _write_recipe(plan)
        for stage in plan.stages:
            if stage.state == "done":
                store.link(stage.name, stage.key)
                folders[stage.name] = store.path(stage.name, stage.key)
                watcher.ends(stage, folders[stage.name], store.facts(stage.name, stage.key), reused=True)
                continue
            watcher.begins(stage)
            facts = _run_stage(plan, stage, folders)
            folders[stage.name] = store.path(stage.name, stage.key)
            watcher.ends(stage, folders[stage.name], facts, reused=False)
    return folders


def _run_stage(plan: Plan, stage: PlannedStage, folders: dict[str, Path]) -> dict[str, Any]:
    store = plan.store
    try:
        partial = store.begin(stage.name, stage.key, afresh=stage.state == "runs")
        with _log_to(partial / "log.txt"), _measured() as usage:
            began = datetime.now(UTC).isoformat(timespec="seconds")
            try:
                value = _call(plan, stage, folders, partial / "work")
                save_result(value, stage.result, partial, lambda: _tokenizer(plan, stage, folders))
            except (Exception, KeyboardInterrupt):
                logger.info("stage %s stopped:\n%s", stage.name, traceback.format_exc())
                raise
            del value
        facts = _facts(plan, stage) | {"started": began} | usage.facts()
        store.finish(stage.name, stage.key, facts)
    except (InputError, RunError):
        raise
    except (ValueError, TypeError, FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{stage.where}: stage {stage.name!r} ({stage.use}): {error}") from error
    except OSError as error:
        raise RunError(f"stage {stage.name!r} ({stage.use}) failed: {_remedy(error)}") from error
    except (ImportError, MemoryError, RuntimeError) as error:
        log = store.partial(stage.name, stage.key) / "log.txt"
        raise RunError(
            f"stage {stage.name!r} ({stage.use}) failed: {type(error).__name__}: {error}\nThe whole story is in {log}; "
            "what was finished before is kept, and the same command goes on from there"
        ) from error
    gc.collect()
    return facts


def _call(plan: Plan, stage: PlannedStage, folders: dict[str, Path], work: Path) -> Any:
    arguments = dict(stage.settings)
    if "workdir" in stage.signature.injected:
        arguments["workdir"] = work
    results = {planned.name: planned.result for planned in plan.stages}
    for name, value in stage.flows.items():
        arguments[name] = load_flow(value, stage.signature.flows[name], results, folders)
    first = next(iter(stage.signature.flows), None)
    if first is None or not is_batch(stage.signature.flows[first]):
        return stage.function(**arguments)
    from metier.engines.data.step import map_step

    return map_step(arguments.pop(first), partial(stage.function, **arguments))


def _tokenizer(plan: Plan, stage: PlannedStage, folders: dict[str, Path]) -> Any:
    """The tokenizer that a model changed by surgery keeps: that of the first model among the stage's inputs."""
    for reference in stage.inputs:
        if plan[reference.stage].result.single is Model:
            return Model.open(folders[reference.stage]).tokenizer()
    raise ValueError(f"{stage.use} gives a model and was given none, so its tokenizer is unknown; let it return a Model")


def _facts(plan: Plan, stage: PlannedStage) -> dict[str, Any]:
    record = record_of(stage.function)
    return {
        "recipe": plan.recipe.name,
        "stage": stage.name,
        "use": stage.use,
        "paper": record.paper,
        "claim": record.claim,
        "parameters": to_jsonable_python(stage.settings, fallback=repr),
        "inputs": {name: [str(found) for found in references(value)] for name, value in stage.flows.items()},
        "input_folders": {found.stage: plan.store.path(found.stage, plan[found.stage].key).name for found in stage.inputs},
        "key": stage.key,
        "seed": stage.settings.get("seed", plan.recipe.seed),
        "versions": host.versions(),
        "host": host.facts(),
        "result": stage.result.describe(),
    }


def _write_recipe(plan: Plan) -> None:
    notes = "".join(f"# --set {override}\n" for override in plan.recipe.overrides)
    try:
        atomic_write(plan.store.folder / "recipe.yaml", notes + plan.recipe.text)
    except OSError as error:
        raise RunError(f"the run folder {plan.store.folder} cannot be written: {_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"no space left on the device{place}; free some and run the same command: it goes on where it stopped"
    if error.errno in (errno.EROFS, errno.EACCES):
        return f"{error.strerror}{place}; make it writable, or choose another folder with --into"
    return f"{error.strerror or error}{place}"


@contextmanager
def _log_to(file: Path) -> Iterator[None]:
    """What is logged inside the block goes to the stage's log: metier's own words, and warnings of others."""
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda entry: entry.levelno >= logging.WARNING or entry.name.startswith("metier"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


@dataclass
class _Usage:
    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0

    def facts(self) -> dict[str, Any]:
        return {"wall_seconds": round(self.wall, 3), "cpu_seconds": round(self.cpu, 3), "peak_memory_bytes": self.peak}


@contextmanager
def _measured() -> Iterator[_Usage]:
    """Wall and CPU seconds of the block (children included) and the peak resident memory of this process, sampled."""
    import psutil

    usage, process, stop = _Usage(), psutil.Process(), threading.Event()

    def cpu() -> float:
        times = process.cpu_times()
        return times.user + times.system + getattr(times, "children_user", 0) + getattr(times, "children_system", 0)

    def watch() -> None:
        while True:
            usage.peak = max(usage.peak, process.memory_info().rss)
            if stop.wait(0.1):
                return

    watching = threading.Thread(target=watch, daemon=True, name="metier-memory")
    began, cpu_began = time.perf_counter(), cpu()
    watching.start()
    try:
        yield usage
    finally:
        stop.set()
        watching.join()
        usage.wall, usage.cpu = time.perf_counter() - began, cpu() - cpu_began
