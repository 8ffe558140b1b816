"""A run folder as `metier run` leaves it, made by the artifacts' own code; its numbers are drawn from a seed."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from metier.artifacts import Comparison, Corpus, Items, Scores, Verdict

HOST = {
    "platform": "Linux-6.1-x86_64",
    "processor": "Example CPU @ 2.10GHz",
    "cores": 2,
    "memory_bytes": 24 << 30,
    "gpu": None,
}
VERSIONS = {"python": "3.11.2", "metier": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"}
MODULES = ["pathlib", "json", "asyncio", "email.message", "collections", "decimal", "logging.handlers", "xml.etree.ElementTree"]
NASTY = '<script>alert("x")</script><img src=x onerror=alert(1)> & "quotes" {{ 7*7 }}'


class FakeRun:
    """Writes stages into a run folder; `stage` fills a stage's folder and its stage.json."""

    def __init__(self, folder: Path, recipe: str = "quickstart") -> None:
        self.folder, self.recipe, self.folders = folder, recipe, {}

    def stage(self, name, use, result, *, inputs=None, parameters=None, wall=1.0, paper=None, claim="", metrics=()):
        folder = self.folder / "stages" / f"{name}-{abs(hash_of(name)):08x}"
        for field, table in result.items():
            if hasattr(table, "save"):
                table.save(folder / field)
            folder.mkdir(parents=True, exist_ok=True)
        kinds = {field: table if isinstance(table, str) else type(table).__name__ for field, table in result.items()}
        inputs = inputs or {}
        facts = {
            "recipe": self.recipe,
            "stage": name,
            "use": use,
            "paper": paper,
            "claim": claim,
            "parameters": parameters or {},
            "inputs": inputs,
            "input_folders": {
                reference.partition(".")[0]: self.folders[reference.partition(".")[0]].name
                for references in inputs.values()
                for reference in references
            },
            "key": f"{abs(hash_of(name)):08x}" * 4,
            "seed": 0,
            "versions": VERSIONS,
            "host": HOST,
            "started": "2026-01-15T09:30:00+00:00",
            "wall_seconds": wall,
            "cpu_seconds": 1.7 * wall,
            "peak_memory_bytes": int((0.3 + wall / 200) * (1 << 30)),
            "result": {"type": kinds[""]} if "" in kinds else {"fields": kinds},
        }
        (folder / "stage.json").write_text(json.dumps(facts))
        if metrics:
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
        self.folders[name] = folder
        return folder


def hash_of(name: str) -> int:
    return random.Random(name).getrandbits(32)


def comparison(task, role, base, difference, half, *, n=120, metric="accuracy", chance=0.25, better="higher"):
    """A comparison whose intervals are `half` wide on each side."""
    gain = difference if better == "higher" else -difference
    return Comparison(
        task=task,
        role=role,
        metric=metric,
        better=better,
        num_items=n,
        base=base,
        base_low=base - half,
        base_high=base + half,
        candidate=base + difference,
        candidate_low=base + difference - half,
        candidate_high=base + difference + half,
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=0.0004 if abs(gain) > half else 0.31,
        p_holm=0.0032 if abs(gain) > half else 1.0,
        outcome="better" if gain > half else "worse" if gain < -half else "tie",
        chance=chance,
    )


COMPARISONS = [
    comparison("summary_to_name", "acquired", 0.312, 0.241, 0.081),
    comparison("name_to_summary", "acquired", 0.347, 0.186, 0.083),
    comparison("held_out_text", "held_out", 1.187, -0.094, 0.021, n=214, metric="bits per byte", chance=None, better="lower"),
    comparison("summary_to_name_held_out", "held_out", 0.329, 0.058, 0.079, n=112),
    comparison("name_to_summary_held_out", "held_out", 0.338, 0.112, 0.084, n=112),
    comparison("arithmetic_in_words", "general", 0.271, -0.012, 0.031, n=400, chance=None),
    comparison("minimal_pairs", "general", 0.842, 0.004, 0.024, n=400, chance=0.5),
    comparison("copying", "general", 0.613, -0.052, 0.029, n=400, chance=None),
    comparison("instructions", "general", 0.418, 0.009, 0.033, n=400, chance=None),
]


def score_rows(num_samples=12, nasty=True):
    """Sampled answers and choice questions of base and specialist; some prompts and answers hold markup or other scripts."""
    draw = random.Random(5)
    rows = []
    for number in range(num_samples):
        prompt = f"What does `{MODULES[number % len(MODULES)]}` do when its argument number {number} is missing?"
        told = "Raises TypeError, and names the argument. " * (1 + 9 * (number % 3))
        said = {
            "base": "It depends on the situation. As a helpful assistant I can say that. " * (1 + 7 * (number % 4)),
            "candidate": told,
        }
        if nasty and number == 0:
            prompt, said["base"] = f"Explain {NASTY}", f"</div></details>{NASTY}"
        if number == 1:
            said["candidate"] = (
                "日本語の説明: パスを返します。العربية ثم English — naïve café 🐍\n\n    >>> Path('.')\n    PosixPath('.')"
            )
        for model, completion in said.items():
            rows.append(score("sample", f"sample-{number}", "open_answers", model, prompt, completion=completion, answer=""))
    for number in range(60):
        options = [f"Return the {word} of {number}." for word in ("length", "parent", "sum", "name")]
        gold = number % 4
        for model, skill in (("base", 0.3), ("candidate", 0.55)):
            chosen = gold if draw.random() < skill else (gold + 1 + draw.randrange(3)) % 4
            prompt = f"Which summary fits {MODULES[number % len(MODULES)]}.function_{number}?"
            row = score("choice", f"choice-{number}", "name_to_summary", model, prompt, options=options, gold=gold, chosen=chosen)
            rows.append(row | {"numerator": float(chosen == gold)})
    return rows


def score(kind, item, task, model, prompt, **given):
    row = {"item": item, "task": task, "role": "acquired", "kind": kind, "model": model, "metric": "accuracy"}
    row |= {"numerator": None if kind == "sample" else 0.0, "denominator": 1.0, "prompt": prompt}
    return row | {"options": None, "gold": None, "chosen": None, "answer": None, "completion": None} | given


def documents(count):
    draw = random.Random(1)
    for number in range(count):
        module = MODULES[number % len(MODULES)]
        text = (
            f"{module}.thing_{number}\n\nReturn thing number {number}. "
            + "It takes a path and gives a name. " * draw.randrange(1, 9)
        )
        row = {"id": f"{module}#{number}", "text": text, "source": module, "drop_reason": None, "error": None}
        if number % 41 == 0:
            row |= {"error": "not UTF-8: byte 0xff at 12", "text": "caf\ufffd"}
        yield row


def marked(rows, rules):
    """The readable rows, with every k-th marked by a rule."""
    for number, row in enumerate(rows):
        rule = next((rule for rule, every in rules.items() if number % every == every - 1), None)
        yield row | {"drop_reason": rule, "text": f"{NASTY} {row['text']}" if rule and number % 7 == 0 else row["text"]}


def training_metrics(steps=180, tokens_per_step=820, sources=MODULES):
    draw = random.Random(3)
    lines = []
    for step in range(steps + 1):
        level = 1.9 + 0.75 * 2.718 ** (-step / 45)
        if step % 45 == 0:
            held = {
                source: level + 0.05 * index - 0.1 + draw.gauss(0, 0.03)
                for index, source in enumerate(["ast", "csv", "zipfile", "heapq"])
            }
            mean = sum(held.values()) / len(held)
            lines.append({"step": step, "tokens": step * tokens_per_step, "held_out_loss": mean, "held_out": held})
        if step:
            losses = {
                source: level + 0.06 * index + draw.gauss(0, 0.15) for index, source in enumerate(sources) if draw.random() < 0.6
            }
            loss = sum(losses.values()) / len(losses) if losses else level
            speed = 268 + draw.gauss(0, 9)
            lines.append(
                {
                    "step": step,
                    "tokens": step * tokens_per_step,
                    "loss": loss,
                    "learning_rate": 1e-4,
                    "tokens_per_second": speed,
                    "losses": losses,
                }
            )
    return lines


def quickstart(folder: Path) -> FakeRun:
    """The stages of the packaged quickstart, up to the head-to-head."""
    run = FakeRun(folder)
    run.stage(
        "base", "models.load", {"": "Model"}, parameters={"source": "smollm2"}, wall=2.4, claim="opens a model by one string"
    )
    run.stage(
        "docs",
        "data.read",
        {"": Corpus.from_rows(documents(1640))},
        parameters={"source": "python:stdlib", "limit": None},
        wall=9.1,
    )
    readable = [row for row in documents(1640) if row["error"] is None]
    unique = list(marked(readable, {"exact duplicate": 11, "near duplicate": 17}))
    run.stage("unique", "curate.duplicates", {"": Corpus.from_rows(unique)}, inputs={"corpus": ["docs"]}, wall=4.3,
              paper="Deduplicating Training Data Makes Language Models Better, arXiv 2107.06499")  # fmt: skip
    kept = [row for row in unique if row["drop_reason"] is None]
    clean = list(marked(kept, {"too short": 5, "repeated lines": 61, "symbol run": 331}))
    run.stage(
        "clean",
        "curate.quality",
        {"": Corpus.from_rows(clean)},
        inputs={"corpus": ["unique"]},
        wall=1.2,
        parameters={"min_words": 5},
    )
    kept = [row for row in clean if row["drop_reason"] is None]
    train = [row for row in kept if row["source"] != "decimal"]
    held = list(marked([row for row in kept if row["source"] == "decimal"], {"twin in training": 23}))
    run.stage("parts", "data.split", {"train": Corpus.from_rows(train), "held_out": Corpus.from_rows(held)}, inputs={"corpus": ["clean"]},
              parameters={"by": "source", "held_out": 0.15, "seed": 0}, wall=2.2)  # fmt: skip
    lesson = list(marked(train, {"not sampled": 2}))
    run.stage("lesson", "data.sample", {"": Corpus.from_rows(lesson)}, inputs={"corpus": ["parts.train"]}, wall=0.4,
              parameters={"by": "source", "characters": 150_000})  # fmt: skip
    run.stage("expert", "pretrain.continued", {"": "Model"}, inputs={"model": ["base"], "corpus": ["lesson"]}, wall=551.0,
              parameters={"epochs": 2, "learning_rate": 1e-4, "adapter": {"rank": 64}}, metrics=training_metrics(),
              paper="Don't Stop Pretraining, arXiv 2004.10964", claim="lower loss on the domain")  # fmt: skip
    items = [
        dict.fromkeys(Items.required, "") | {"id": str(i), "options": ["a", "b"], "gold": 0, "chat": False} for i in range(344)
    ]
    run.stage("questions", "evaluate.corpus_questions", {"": Items.from_rows(items)}, wall=1.9,
              inputs={"train": ["lesson"], "held_out": ["parts.held_out"]})  # fmt: skip
    run.stage(
        "unseen", "evaluate.held_out_text", {"": Items.from_rows(items[:214])}, inputs={"corpus": ["parts.held_out"]}, wall=0.3
    )
    run.stage("general", "evaluate.general_probes", {"": Items.from_rows(items * 4)}, wall=0.2)
    scores = Scores.from_rows(score_rows())
    scores.comparisons = COMPARISONS
    scores.verdict = Verdict(
        "cost",
        "Better on its documents (questions +21.4 points, held-out text 7.9% fewer bits per byte), but copying fell by 5.2 points.",
    )
    run.stage("versus", "evaluate.head_to_head", {"": scores}, wall=96.0, parameters={"replicates": 10_000},
              inputs={"candidate": ["expert"], "base": ["base"], "items": ["questions", "unseen", "general"]})  # fmt: skip
    return run


@pytest.fixture(scope="session", name="comparison")
def _comparison():
    return comparison


@pytest.fixture(scope="session", name="score")
def _score():
    return score


@pytest.fixture(scope="session")
def run_in():
    """A function that begins a run in a folder."""
    return FakeRun


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> SimpleNamespace:
    """The quickstart's run folder, and its scores as the report gets them."""
    run = quickstart(tmp_path_factory.mktemp("runs") / "quickstart")
    return SimpleNamespace(run=run, scores=Scores.open(run.folders["versus"]))
