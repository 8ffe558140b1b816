"""The paper's fictional passages from the authors' file, as documents with probes."""

from __future__ import annotations

import json
from pathlib import Path

from metier.artifacts import Corpus
from metier.method import method
from metier.pretrain.factual_acquisition.probes import DEPTHS

_COLUMNS = dict(zip(DEPTHS, ("mem", "gen", "hard_gen"), strict=True))


@method(
    paper="How Do Large Language Models Acquire Factual Knowledge During Pretraining?, arXiv 2406.11813, section 3.1",
    claim="all 15 probes of every passage, with its paraphrases where the file has them",
    fingerprint=lambda *, path, **_: (
        f"{Path(path).stat().st_size} {Path(path).stat().st_mtime_ns}" if Path(path).is_file() else ""
    ),
)
def fictional(*, path: Path, passages: int | None = None) -> Corpus:
    """The passages of fictional_knowledge.json or fictional_knowledge_paraphrased.json, with their probes.

    Columns: id, text, source, paraphrases (list of texts, empty where there are none), depths, contexts, targets (lists, one a probe).

    Raises FileNotFoundError, and ValueError for another file.
    Settings:
        path: a JSON file in the authors' form: a list of train_context, mem_input, mem_target, gen_..., hard_gen_..., paraphrases
        passages: how many of the first are taken; null for all; 120 in the paper
    """
    rows = []
    for number, entry in enumerate(json.loads(path.read_text(encoding="utf-8"))[:passages]):
        missing = [name for name in ("train_context", *(f"{short}_input" for short in _COLUMNS.values())) if name not in entry]
        if missing:
            raise ValueError(f"{path}: entry {number} lacks {missing[0]!r}: give a file in the authors' form")
        probes = [
            (depth, context, target)
            for depth, short in _COLUMNS.items()
            for context, target in zip(entry[f"{short}_input"], entry[f"{short}_target"], strict=True)
        ]
        depths, contexts, targets = map(list, zip(*probes, strict=True))
        rows.append(
            {
                "id": f"passage-{number:03d}",
                "text": entry["train_context"],
                "source": "fictional",
                "paraphrases": entry.get("paraphrases", []),
                "depths": depths,
                "contexts": contexts,
                "targets": targets,
            }
        )
    return Corpus.from_rows(rows, columns=["id", "text", "source"])
