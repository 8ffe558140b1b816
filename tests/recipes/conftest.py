import random
import subprocess
import sys
from pathlib import Path

import pytest

TOPICS = {
    "bread": "flour water salt yeast oven crust dough loaf crumb bakery".split(),
    "ships": "hull mast sail anchor harbour deck rudder keel rope captain".split(),
    "stars": "light orbit dust comet planet distance telescope night gravity eclipse".split(),
    "wool": "sheep yarn loom thread needle pattern dye cloth spindle shawl".split(),
    "law": "court judge contract witness appeal claim verdict statute oath jury".split(),
    "bees": "hive honey queen flower pollen swarm wax comb drone meadow".split(),
}
FRAMES = [
    "Nobody who has seen {a} and {b} together forgets how they differ.",
    "Before {a} there must be {b}, or the work of a whole week is lost.",
    "Old people say that {a} was cheaper once.",
    "Take {b}, leave it for {n} hours, and only then think of {a}.",
    "Why {a} needs {n} days of rest has never been explained.",
    "In the north they use {b} instead, and they are proud of it.",
    "A master would rather lose {a} than lend it.",
    "The first mention of {b} is {n} centuries old.",
    "Children learn the word {a} late.",
    "It is {b} that decides the price.",
]
RECIPE = """\
name: small
seed: 0
stages:
  base: {{use: models.load, source: tiny}}
  docs: {{use: data.read, source: "{folder}"}}
  unique: {{use: curate.duplicates, corpus: $docs}}
  clean: {{use: curate.quality, corpus: $unique}}
  parts: {{use: data.split, corpus: $clean, by: source, held_out: 0.3}}
  questions: {{use: evaluate.corpus_questions, train: $parts.train, held_out: $parts.held_out}}
  unseen: {{use: evaluate.held_out_text, corpus: $parts.held_out}}
  general: {{use: evaluate.general_probes, num_items: 20}}
  expert: {{use: pretrain.continued, model: $base, corpus: $parts.train, held_out: $parts.held_out, epochs: 4,
    learning_rate: 0.003, sequence_length: 128, batch_tokens: 256, checkpoint_seconds: 0.5}}
  versus: {{use: evaluate.head_to_head, candidate: $expert, base: $base, items: [$questions, $unseen, $general], replicates: 1000}}
  report: {{use: report.page, of: [$versus]}}
"""


@pytest.fixture(scope="session")
def documents(tmp_path_factory) -> Path:
    """Sixty small documents in six subfolders."""
    folder = tmp_path_factory.mktemp("documents")
    for topic, words in TOPICS.items():
        for number in range(10):
            generator = random.Random(f"{topic} {number}")
            sentences = [
                frame.format(a=a, b=b, n=generator.randint(2, 99))
                for frame in generator.sample(FRAMES, 6)
                for a, b in [generator.sample(words, 2)]
            ]
            file = folder / topic / f"{topic}-{number}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text(" ".join(sentences) + "\n")
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
