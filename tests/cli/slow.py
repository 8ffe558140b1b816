"""Methods of a user's own for the tests of interruption and failure, called in recipes as `slow:name`."""

from __future__ import annotations

import json
import time
from pathlib import Path


def steps(*, total: int = 40, seconds: float = 0.1, workdir: Path | None = None) -> dict:
    """The sum of 1 to `total`, one step at a time; goes on where it stopped. `began` counts how often it was called."""
    assert workdir is not None
    file = workdir / "state.json"
    state = json.loads(file.read_text()) if file.is_file() else {"done": 0, "sum": 0, "began": 0}
    state["began"] += 1
    for step in range(state["done"] + 1, total + 1):
        state |= {"done": step, "sum": state["sum"] + step}
        file.with_suffix(".new").write_text(json.dumps(state))
        file.with_suffix(".new").replace(file)
        time.sleep(seconds)
    return state


def breaks(result: dict) -> dict:
    raise RuntimeError("the loss is not a number any more")


def fills_the_disk(result: dict) -> dict:
    raise OSError(28, "No space left on device")
