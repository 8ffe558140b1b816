"""What the benchmarks share: a peer's own virtual environment, an arm of a comparison in its own process, results with their circumstances."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"  # small public sets that may stand beside the checkout
JOB = "BENCHMARK_JOB"


def peer_python(name: str, packages: list[str]) -> str:
    """The interpreter of a virtual environment with the packages, made once in the user's cache."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("metier-benchmarks")) / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        (folder / ".ready").touch()
    return str(python)


def in_process(python: str, script: str, arm: str, job: dict[str, Any]) -> dict[str, Any]:
    """What `script --arm ARM` prints as its last line, a JSON object, in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        environment = os.environ | {JOB: file.name, "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run([python, script, "--arm", arm], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{arm} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def the_job() -> dict[str, Any]:
    """The job of this process, where it is an arm."""
    return dict(json.loads(Path(os.environ[JOB]).read_text()))


def peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def median(runs: list[dict[str, Any]], name: str) -> float:
    return float(sorted(run[name] for run in runs)[len(runs) // 2])


def smollm2() -> str:
    """The folder of the default model."""
    from metier.models.source import open_model

    return str(open_model("smollm2").path)


def store(name: str, figures: dict[str, Any]) -> None:
    """Writes benchmarks/results/NAME.json with host facts, and prints the figures, without single runs, as the last line."""
    from metier.core import host

    figures |= {"host": host.facts(), "made": time.strftime("%Y-%m-%dT%H:%M:%S")}
    results = ROOT / "benchmarks" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({key: value for key, value in figures.items() if key != "runs"}))
