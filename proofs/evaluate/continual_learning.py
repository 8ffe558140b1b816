"""Replaying past data forgets less than plain sequential training in as many steps.

Three invented languages are learnt one after the other by a Llama of 0.1 million parameters that starts from random weights. A
language is a Markov chain over the same fourteen letters, where each letter has two likely successors, so that what one language
teaches is wrong in the next; a document begins with a sign that tells its language, so that one model can know all three. Both
arms take equally many
steps: replayed documents take the place of new ones (budget "total", a ratio of 0.25). Seeds differ in languages, documents,
start and order of rows. Forgetting is F of the method's matrix on held-out documents.

Contradicted if replay forgets more by an interval that excludes 0; not shown if the interval holds 0. The other strategies, with
settings that were not tuned, are reported in the notes whatever they did, and so is what replay cost in learning the new.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from metier.artifacts import Corpus, Items
from metier.core.evidence import Evidence, paired
from metier.evaluate.continual_learning import continual_learning
from metier.evaluate.continual_learning.results import ContinualLearning
from metier.evaluate.continual_learning.settings import Replay, Training
from metier.evaluate.item import Item, items_table
from metier.models.tiny import make_tiny

LETTERS, SIGNS = "ABCDEFGHIJKLMN", "&*%"
MEASURES = ("overall", "backward", "forgetting", "forward", "learning")


def prove(quick: bool) -> Evidence:
    """Three seeds of two languages when quick; else eight of three, with all other strategies and the baselines for the first
    three."""
    evidence = paired(
        replayed,
        sequential,
        claim="replaying past data forgets less than plain sequential training in as many steps",
        metric="forgetting F, bits per byte",
        better="lower",
        seeds=range(3 if quick else 8),
        settings={"languages": 2 if quick else 3, "documents": 100 if quick else 300, "epochs": 2.0 if quick else 3.0},
    )
    return replace(evidence, notes=_notes(evidence))


def replayed(seed: int, languages: int, documents: int, epochs: float) -> float:
    return _forgetting(learnt(seed, languages, documents, epochs), "replay")


def sequential(seed: int, languages: int, documents: int, epochs: float) -> float:
    return _forgetting(learnt(seed, languages, documents, epochs), "sequential")


@cache
def learnt(seed: int, languages: int, documents: int, epochs: float) -> ContinualLearning:
    """What the strategies did with the languages of a seed; replay and sequential in as many steps."""
    chains = {sign: _language(seed, sign) for sign in SIGNS[:languages]}
    everything = seed < 3 and languages == len(SIGNS)
    with tempfile.TemporaryDirectory() as folder:
        return continual_learning(
            make_tiny(Path(folder), seed=seed, hidden_size=64, layers=2),
            [_corpus(chain, sign, f"{seed} train", documents) for sign, chain in chains.items()],
            [_suite(chain, sign, f"{seed} test") for sign, chain in chains.items()],
            strategies=("replay", "ewc", "l2sp", "adapters") if everything else ("replay",),
            baselines=everything,
            training=Training(
                epochs=epochs,
                learning_rate=3e-3,
                adapter_learning_rate=1e-2,
                sequence_length=256,
                batch_tokens=512,
                precision="float32",
            ),
            replay=Replay(ratio=0.25, budget="total"),
            seed=seed,
        )


def _language(seed: int, sign: str) -> dict[str, list[str]]:
    generator = random.Random(f"{seed} {sign}")
    return {letter: generator.sample(LETTERS, 2) for letter in LETTERS}


def _documents(chain: dict[str, list[str]], sign: str, seed: str, count: int) -> list[str]:
    generator = random.Random(f"{seed} {sign}")
    documents = []
    for _ in range(count):
        letters = [generator.choice(LETTERS)]
        while len(letters) < 40:
            letters.append(generator.choice(chain[letters[-1]]))
        documents.append(sign + "".join(letters))
    return documents


def _corpus(chain: dict[str, list[str]], sign: str, seed: str, count: int) -> Corpus:
    texts = _documents(chain, sign, seed, count)
    return Corpus.from_rows({"id": f"{sign}{number}", "text": text, "source": sign} for number, text in enumerate(texts))


def _suite(chain: dict[str, list[str]], sign: str, seed: str) -> Items:
    texts = _documents(chain, sign, seed, 30)
    return items_table(Item(f"{sign}{number}", f"language {sign}", "held_out", "text", text) for number, text in enumerate(texts))


def _forgetting(found: ContinualLearning, strategy: str) -> float:
    (line,) = [line for line in found.summaries if line.strategy == strategy]
    assert line.forgetting is not None  # two tasks or more
    return line.forgetting.value


def _notes(evidence: Evidence) -> str:
    found = [learnt(seed, *evidence.settings.values()) for seed in evidence.seeds]  # as the arms called it: from the cache
    lines = []
    for strategy in dict.fromkeys(line.strategy for one in found for line in one.summaries):
        rows = [line for one in found for line in one.summaries if line.strategy == strategy]
        means = [f"{name} {_mean([getattr(row, name).value for row in rows]):.3f}" for name in MEASURES]
        tokens = f"{rows[0].trained_tokens:.0f} tokens, {rows[0].replayed_tokens:.0f} of them replayed"
        lines.append(f"{strategy} ({len(rows)} seeds): {', '.join(means)}, {tokens}")
    joint = [_mean(one.joint) for one in found if one.joint]
    lines += [f"joint ({len(joint)} seeds): overall {_mean(joint):.3f}, {found[0].joint_tokens} tokens"] if joint else []
    return "minus bits per byte, means over seeds; " + "; ".join(lines)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
