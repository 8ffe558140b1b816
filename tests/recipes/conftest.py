import subprocess
import sys
from pathlib import Path

import pytest

TOPICS = {
    "bread": "flour water salt yeast oven crust dough loaf",
    "ships": "hull mast sail anchor harbour deck rudder keel",
    "stars": "light orbit dust comet planet distance telescope night",
    "wool": "sheep yarn loom thread needle pattern dye cloth",
    "law": "court judge contract witness appeal claim verdict statute",
    "bees": "hive honey queen flower pollen swarm wax comb",
}
RECIPE = """\
name: small
seed: 0
stages:
  base: {{use: models.load, source: tiny}}
  docs: {{use: data.read, source: "{folder}"}}
  unique: {{use: curate.duplicates, corpus: $docs}}
  clean: {{use: curate.quality, corpus: $unique}}
  parts: {{use: data.split, corpus: $clean, by: source, held_out: 0.3}}
  expert: {{use: pretrain.continued, model: $base, corpus: $parts.train, held_out: $parts.held_out, epochs: 4,
    learning_rate: 0.003, sequence_length: 128, batch_tokens: 256, checkpoint_seconds: 0.5}}
  questions: {{use: evaluate.corpus_questions, train: $parts.train, held_out: $parts.held_out}}
  unseen: {{use: evaluate.held_out_text, corpus: $parts.held_out}}
  general: {{use: evaluate.general_probes, num_items: 20}}
  versus: {{use: evaluate.head_to_head, candidate: $expert, base: $base, items: [$questions, $unseen, $general], replicates: 1000}}
  report: {{use: report.page, of: [$versus]}}
"""


@pytest.fixture(scope="session")
def documents(tmp_path_factory) -> Path:
    """Sixty small documents in six subfolders."""
    folder = tmp_path_factory.mktemp("documents")
    for topic, words in TOPICS.items():
        for number in range(10):
            chosen = words.split()[number % 4 :] + words.split()[: number % 3]
            sentences = [
                f"The {word} number {number} of {topic} is described here: it comes before the {other} and needs {number + position} hours."
                for position, (word, other) in enumerate(zip(chosen, chosen[1:], strict=False))
            ]
            file = folder / topic / f"{topic}-{number}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"About {chosen[0]} {number} in {topic}\n\n" + " ".join(sentences) + "\n")
    return folder


@pytest.fixture(scope="session")
def recipe(documents, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "small.yaml"
    file.write_text(RECIPE.format(folder=documents))
    return file


@pytest.fixture(scope="session")
def metier():
    """The real command, in a process of its own."""

    def call(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", "from metier.cli.main import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    return call


@pytest.fixture(scope="session")
def finished(recipe, metier, tmp_path_factory) -> Path:
    """The run folder of one uninterrupted run."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    done = metier("run", recipe, "--into", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
