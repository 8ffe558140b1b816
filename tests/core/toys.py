"""Small methods for the runner's tests, called in recipes as `toys:name`. Calls are counted in the file CALLS names."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Literal, NamedTuple

from metier.artifacts import Batch, Corpus
from metier.method import method
from metier.models.language_model import LanguageModel


class Halves(NamedTuple):
    left: Corpus
    right: Corpus


def _called(name: str) -> None:
    with Path(os.environ["CALLS"]).open("a") as calls:
        calls.write(f"{name}\n")


def _fingerprint(**settings: object) -> str:
    return Path(os.environ["WORLD"]).read_text() if "WORLD" in os.environ else ""


@method(claim="makes numbers", fingerprint=_fingerprint)
def numbers(*, count: int, seed: int = 0) -> Corpus:
    _called("numbers")
    return Corpus.from_rows([{"id": str(i), "text": f"number {i} of seed {seed}", "source": "toys"} for i in range(count)])


def halves(corpus: Corpus, *, share: float = 0.5) -> Halves:
    _called("halves")
    rows = list(corpus.rows())
    cut = int(len(rows) * share)
    return Halves(Corpus.from_rows(rows[:cut]), Corpus.from_rows(rows[cut:]))


def shout(batch: Batch, *, mark: Literal["!", "?"] = "!") -> Batch:
    return batch | {"text": [text.upper() + mark for text in batch["text"]]}


def count(corpora: list[Corpus], *, note: str | None = None) -> dict:
    _called("count")
    return {"rows": sum(len(corpus) for corpus in corpora), "note": note}


def double(counted: dict) -> dict:
    return {"rows": 2 * counted["rows"]}


def steps(corpus: Corpus, *, total: int = 20, fail_at: int = -1, error: str = "", workdir: Path | None = None) -> dict:
    """Sums 1 to total, one file a step: resumes where it stopped."""
    assert workdir is not None
    state = workdir / "state.json"
    done, value = json.loads(state.read_text()) if state.is_file() else (0, 0)
    _called(f"steps from {done}")
    with (workdir / "metrics.jsonl").open("a") as metrics:
        for step in range(done + 1, total + 1):
            value += step
            if step == fail_at:
                raise {
                    "os": OSError(28, "No space left on device"),
                    "value": ValueError("a bad value"),
                    "key": KeyboardInterrupt(),
                }.get(error, RuntimeError("broken"))
            state.with_suffix(".new").write_text(json.dumps([step, value]))
            state.with_suffix(".new").replace(state)
            metrics.write(json.dumps({"step": step}) + "\n")
            metrics.flush()
            time.sleep(0.01)
    return {"sum": value}


def lies(corpus: Corpus) -> Corpus:
    return {"not": "a corpus"}  # type: ignore[return-value]


def untyped(corpus: Corpus, *, size=3) -> Corpus:
    return corpus


@method(claim="asks")
def asked(model: LanguageModel | None = None) -> dict:
    """What a model says."""
    return {"said": model.generate(["one"], max_new_tokens=2)[0].text if model is not None else ""}
