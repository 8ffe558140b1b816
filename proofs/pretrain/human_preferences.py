"""What is written after the good tag breaks fewer rules of style than what plain pretraining writes, at equal tokens.

Contradicted if samples after <|aligned|> have more breaches a character than those of the model trained by plain likelihood, by an
interval over seeds that excludes 0. The notes give <|misaligned|>, which must lie above both; if it does not, the tags were not learnt.
"""

from __future__ import annotations

import sysconfig
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from metier.artifacts import Corpus, Model
from metier.core.evidence import Evidence, paired
from metier.models.tiny import make_tiny
from metier.pretrain.human_preferences import human_preferences
from metier.pretrain.human_preferences.samples import Tag, samples
from metier.pretrain.human_preferences.scored import python_style, scored

CHARACTERS = 300_000
LINES = 40  # of a document


def prove(quick: bool) -> Evidence:
    """Source files of the standard library, those with the largest share of lines that break a rule first; a 2-layer model from scratch.

    Files are chosen by the rule above before any training, the threshold is 0 (a line with no breach is good), the settings are those of
    the paper but for size and learning rate, and both arms have the same start, text and number of tokens.
    """
    misaligned: dict[int, float] = {}
    tokens, num_samples = (10_000, 16) if quick else (400_000, 64)

    def aligned(seed: int, tokens: int, num_samples: int) -> float:
        misaligned[seed] = _breaches(seed, tokens, num_samples, "conditional", "misaligned")
        return _breaches(seed, tokens, num_samples, "conditional", "aligned")

    found = paired(
        aligned,
        _plain,
        claim="fewer breaches of style after the good tag than from plain likelihood",
        metric="breaches per 100 characters",
        better="lower",
        seeds=range(3),
        settings={"tokens": tokens, "num_samples": num_samples},
    )
    after_bad = ", ".join(f"{value:.3f}" for _, value in sorted(misaligned.items()))
    return replace(
        found,
        notes=f"after the bad tag, by seed: {after_bad}; {num_samples} samples of 96 tokens an arm and seed, at temperature 0.7, top-p 0.9",
    )


def _plain(seed: int, tokens: int, num_samples: int) -> float:
    return _breaches(seed, tokens, num_samples, "mle", "none")


def _breaches(seed: int, tokens: int, num_samples: int, objective: str, tag: Tag) -> float:
    model = _trained(seed, tokens, objective)
    texts = [row["text"] for row in samples(model, tag=tag, num_samples=num_samples, max_new_tokens=96, seed=seed).rows()]
    return 100 * sum(python_style([text])[0] * len(text) for text in texts) / max(1, sum(map(len, texts)))


@cache
def _trained(seed: int, tokens: int, objective: str) -> Model:
    folder = Path(tempfile.mkdtemp(prefix="metier-proof-"))
    start = make_tiny(folder / "start", seed=seed, hidden_size=128, heads=4)
    return human_preferences(
        start, _corpus(), objective=objective, threshold=0.0 if objective == "conditional" else None, tokens=tokens,  # type: ignore[arg-type]
        learning_rate=2e-3, sequence_length=256, batch_tokens=2048, precision="float32", checkpoint_seconds=1e9, seed=seed,
        workdir=folder / "training",
    )  # fmt: skip


@cache
def _corpus() -> Corpus:
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = [file for file in sorted(folder.glob("*.py")) if 5_000 < file.stat().st_size < 200_000]
    texts = {file.stem: file.read_text(encoding="utf-8", errors="replace") for file in files}
    order = sorted(texts, key=lambda name: (-_share(texts[name]), name))
    rows, size = [], 0
    for name in order:
        lines = texts[name].splitlines(keepends=True)
        for start in range(0, len(lines), LINES):
            rows.append({"id": f"{name}-{start}", "text": "".join(lines[start : start + LINES]), "source": name})
            size += len(rows[-1]["text"])
        if size > CHARACTERS:
            break
    return scored(Corpus.from_rows(rows), rule="python_style", segments="lines")


def _share(text: str) -> float:
    lines = [line for line in text.splitlines(keepends=True) if line.strip()]
    return sum(score > 0 for score in python_style(lines)) / len(lines)
