"""What the records of the stages say: what was asked, how each result was made, and what it cost."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metier.core.lineage import StageRecord
from metier.report import figures
from metier.report.curves import trained_tokens
from metier.report.graph import kind


@dataclass(frozen=True)
class Step:
    """One stage of the lineage, as told in the list. `settings`: names and values as text; `host` in one line."""

    number: int
    stage: str
    use: str
    made: str
    claim: str
    paper: str | None
    inputs: list[tuple[str, str, int]]
    settings: list[tuple[str, str]]
    facts: list[tuple[str, str]]


@dataclass(frozen=True)
class Cost:
    """One stage's price; `share` is its part of the wall time in percent."""

    stage: str
    use: str
    wall: str
    cpu: str
    memory: str
    share: float


@dataclass(frozen=True)
class Bill:
    """What all stages cost together. `speeds` says of each training how fast it went."""

    rows: list[Cost]
    wall: str
    cpu: str
    memory: str
    speeds: list[str]
    hosts: list[str]


def asked(records: Sequence[StageRecord]) -> list[tuple[str, str]]:
    """What was asked: recipe, base, documents, budget; what the records don't say is left out."""
    if not records:
        return []
    found = [("recipe", str(records[-1].facts["recipe"]))] if records[-1].facts.get("recipe") else []
    found += [("base", source) for source in _sources(records, "Model")[:1]]
    documents = _sources(records, "Corpus")
    found += [("documents", ", ".join(documents))] if documents else []
    training = [record for record in records if any("loss" in line for line in record.metrics())]
    if training:
        tokens = sum(trained_tokens(record) for record in training)
        seconds = sum(record.facts["wall_seconds"] for record in training)
        found.append(("budget", f"{figures.compact(tokens)} tokens of training in {figures.duration(seconds)}"))
    return found


def steps(records: Sequence[StageRecord]) -> list[Step]:
    number = {record.folder: index for index, record in enumerate(records, start=1)}
    found = []
    for record in records:
        facts = record.facts
        inputs = []
        for parameter, references in facts["inputs"].items():
            for reference in references:
                folder = record.folder.parent / facts["input_folders"].get(reference.partition(".")[0], "")
                inputs.append((parameter, reference, number.get(folder, 0)))
        told = [
            ("seed", str(facts["seed"])),
            ("started", str(facts["started"])),
            ("key", str(facts["key"])),
            ("folder", record.folder.name),
            ("machine", host(facts["host"])),
            ("versions", ", ".join(f"{package} {version}" for package, version in facts["versions"].items())),
        ]
        settings = [
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in facts["parameters"].items()
            if name != "seed"
        ]
        found.append(
            Step(
                number[record.folder],
                record.name,
                str(facts["use"]),
                kind(record),
                facts["claim"],
                facts["paper"],
                inputs,
                settings,
                told,
            )
        )
    return found


def bill(records: Sequence[StageRecord]) -> Bill:
    walls = [record.facts["wall_seconds"] for record in records]
    rows = [
        Cost(
            stage=record.name,
            use=str(record.facts["use"]),
            wall=figures.duration(record.facts["wall_seconds"]),
            cpu=figures.duration(record.facts["cpu_seconds"]),
            memory=figures.size(record.facts["peak_memory_bytes"]),
            share=100 * record.facts["wall_seconds"] / (sum(walls) or 1.0),
        )
        for record in records
    ]
    return Bill(
        rows=rows,
        wall=figures.duration(sum(walls)),
        cpu=figures.duration(sum(record.facts["cpu_seconds"] for record in records)),
        memory=figures.size(max((record.facts["peak_memory_bytes"] for record in records), default=0)),
        speeds=[speed for record in records if (speed := _speed(record))],
        hosts=list(dict.fromkeys(host(record.facts["host"]) for record in records)),
    )


def host(facts: dict[str, Any]) -> str:
    """The machine in one line."""
    gpu = [str(facts["gpu"])] if facts.get("gpu") else []
    cores = f"{facts['cores']} core{'' if facts['cores'] == 1 else 's'}"
    return ", ".join(
        [*gpu, str(facts["processor"]), cores, figures.size(facts["memory_bytes"]) + " memory", str(facts["platform"])]
    )


def _sources(records: Sequence[StageRecord], wanted: str) -> list[str]:
    """The `source` settings of stages that made such an artifact from nothing."""
    found = []
    for record in records:
        source = record.facts["parameters"].get("source")
        if not record.facts["inputs"] and kind(record) == wanted and source is not None:
            found += [str(one) for one in source] if isinstance(source, list) else [str(source)]
    return found


def _speed(record: StageRecord) -> str:
    lines = record.metrics()
    speeds = [line["tokens_per_second"] for line in lines if line.get("tokens_per_second")]
    if not speeds:
        return ""
    tokens = trained_tokens(record)
    return (
        f"{record.name} trained on {figures.count(tokens)} tokens at {figures.count(statistics.median(speeds))} tokens per second "
        f"(median of {len(speeds)} steps)."
    )
