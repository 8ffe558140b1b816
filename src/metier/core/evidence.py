"""Evidence: what an experiment says of a claim. Made by proofs, stored as JSON, shown by `metier methods`.

A proof is a function `prove(quick: bool) -> Evidence` in proofs/<family>/<slug>.py, which ends in `exact` (an equality that holds or not)
or `paired` (a method and its baseline at the same budget, several seeds). It says beforehand what would contradict the claim.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from metier.artifacts.files import atomic_write
from metier.core import host
from metier.core.errors import InputError
from metier.progress import track

Outcome = Literal["exact", "shown", "not shown", "contradicted"]


@dataclass(frozen=True)
class Check:
    """One equality: the largest difference found, and the largest one allowed. A difference that is not a number fails."""

    name: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.difference <= self.tolerance  # False for nan


@dataclass(frozen=True)
class Evidence:
    """What an experiment found.

    effect: mean over seeds of method minus baseline in units of `metric`; for an exact claim the largest difference
    interval: 95% interval of the effect; None for an exact claim
    method, baseline: the values by seed; checks: of an exact claim
    seconds, versions, host, made, quick: filled by `prove`
    """

    claim: str
    metric: str
    better: Literal["lower", "higher", "equal"]
    verdict: Outcome
    effect: float
    interval: tuple[float, float] | None
    seeds: list[int] = field(default_factory=list)
    method: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    quick: bool = False
    seconds: float = 0.0
    made: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)


def exact(*, claim: str, metric: str, checks: Sequence[Check], notes: str = "") -> Evidence:
    """Evidence of equalities: "exact" when each holds, "contradicted" when one does not. Raises ValueError for no checks."""
    if not checks:
        raise ValueError(f"no check was made of {claim!r}: an exact proof needs at least one")
    worst = max(checks, key=lambda check: math.inf if math.isnan(check.difference) else check.difference / check.tolerance)
    return Evidence(
        claim=claim,
        metric=metric,
        better="equal",
        verdict="exact" if all(check.holds for check in checks) else "contradicted",
        effect=worst.difference,
        interval=None,
        checks=list(checks),
        notes=notes,
    )


def paired(
    method: Callable[..., float],
    baseline: Callable[..., float],
    *,
    claim: str,
    metric: str,
    better: Literal["lower", "higher"],
    seeds: Iterable[int],
    settings: Mapping[str, Any] | None = None,
    notes: str = "",
) -> Evidence:
    """Evidence of a difference: both arms are called with each seed and the same settings (`arm(seed=..., **settings)`).

    "shown" when the 95% interval of the mean paired difference (Student's t over seeds) lies on the better side of 0, "contradicted"
    when on the other, "not shown" otherwise. Raises ValueError for fewer than three seeds, which give no useful interval.
    """
    from scipy import stats

    seeds, settings = list(seeds), dict(settings or {})
    if len(seeds) < 3:
        raise ValueError(f"{len(seeds)} seeds give no interval for {claim!r}: give three or more")
    values: list[tuple[float, float]] = []
    for seed in track(seeds, "proving", unit="seed"):
        values.append((float(method(seed=seed, **settings)), float(baseline(seed=seed, **settings))))
    differences = [ours - theirs for ours, theirs in values]
    if not all(map(math.isfinite, differences)):
        raise ValueError(f"{metric} is not finite in {values}: the experiment of {claim!r} went wrong")
    mean = math.fsum(differences) / len(differences)
    error = float(stats.sem(differences))
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    low, high = mean - half, mean + half
    gained, lost = (low > 0, high < 0) if better == "higher" else (high < 0, low > 0)
    return Evidence(
        claim=claim,
        metric=metric,
        better=better,
        verdict="shown" if gained else "contradicted" if lost else "not shown",
        effect=mean,
        interval=(low, high),
        seeds=seeds,
        method=[ours for ours, _ in values],
        baseline=[theirs for _, theirs in values],
        settings=settings,
        notes=notes,
    )


def proofs_folder() -> Path:
    """Where proofs live: the checkout's proofs/, or the copy that the wheel carries."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1] / "proofs"
    return checkout if checkout.is_dir() else package / "_proofs"


def names() -> list[str]:
    """The names of all methods that have a proof."""
    folder = proofs_folder()
    files = sorted(folder.glob("*/**/*.py"))
    return [".".join(file.relative_to(folder).with_suffix("").parts) for file in files if file.name != "__init__.py"]


def prove(name: str, *, quick: bool = False) -> Evidence:
    """Runs the proof of a method. Raises InputError when there is none."""
    module = _load(name)
    began = time.perf_counter()
    evidence: Evidence = module.prove(quick)
    return replace(
        evidence,
        quick=quick,
        seconds=round(time.perf_counter() - began, 2),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=host.versions(),
        host=host.facts(),
    )


def store(name: str, evidence: Evidence, folder: Path | None = None) -> Path:
    """Writes the evidence of a full proof to results/NAME.json of the proofs' folder (or to `folder`)."""
    folder = folder if folder is not None else proofs_folder() / "results"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    atomic_write(file, json.dumps(asdict(evidence), indent=1) + "\n")
    return file


def stored(name: str) -> Evidence | None:
    """The evidence on file for a method, or None."""
    file = proofs_folder() / "results" / f"{name}.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    content["checks"] = [Check(**check) for check in content["checks"]]
    content["interval"] = tuple(content["interval"]) if content["interval"] is not None else None
    return Evidence(**content)


def _load(name: str) -> ModuleType:
    file = proofs_folder().joinpath(*name.split(".")).with_suffix(".py")
    if not file.is_file():
        raise InputError.unknown("proof", name, names(), remedy="`metier methods` lists what has evidence")
    spec = importlib.util.spec_from_file_location(f"metier_proofs.{name}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"the proof {file} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
