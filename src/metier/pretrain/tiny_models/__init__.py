"""`pretrain.tiny_models`: small encoders pretrained on the user's own texts, and a deep one against a soft committee of shallow ones."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from metier.artifacts import Corpus, Model
from metier.artifacts.files import work_folder
from metier.method import method
from metier.pretrain.tiny_models.results import Arm, Findings

logger = logging.getLogger(__name__)

Row = dict[str, Any]


class TinyModels(NamedTuple):
    """deep: the fine-tuned deep classifier. committee: the shallow ones as one, which AutoModelForSequenceClassification opens after
    `import metier.pretrain.tiny_models.committee`."""

    deep: Model
    committee: Model
    findings: Findings


@method(
    paper="Tiny language models, arXiv 2507.14871, sections 2 to 4",
    claim="what pretraining a tiny encoder brings a classifier, and how near shallow committees come to a deep one at a layer's latency",
)
def tiny_models(
    corpus: Corpus,
    train: Corpus,
    test: Corpus,
    *,
    label: str = "label",
    layers: tuple[int, int] = (6, 1),
    hidden_size: int = 768,
    heads: int = 12,
    members: int = 4,
    average: Literal["probabilities", "logits"] = "probabilities",
    vocabulary: int = 30_522,
    epochs: tuple[float, float] = (50.0, 50.0),
    learning_rate: float = 5e-5,
    sequence_length: int = 128,
    seed: int = 0,
    workdir: Path | None = None,
) -> TinyModels:
    """A deep BERT and a committee of shallow ones, pretrained on `corpus` by masked words and fine-tuned to name a document's class.

    `train` and `test` are documents with a column of classes. Every member is pretrained from its own seed and fine-tuned alone; all use
    one tokenizer, learnt from `corpus`. For comparison the deep one is fine-tuned from random weights, too, and one shallow pretraining as
    often as there are members: where that committee is as good, independent pretraining was not what mattered. Latency is measured for one
    document: members run side by side only where each has a processor.

    Differs from the paper: texts are packed and read whole instead of cut after 128 tokens; learning rates fall by steps after a warming up
    (the authors' first epoch runs at rate 0); no accuracy on the test set chooses anything; padding ids are the tokenizer's. Not here: the
    convolutional front end. Raises ValueError for one class, classes of the test that training lacks, and no documents.
    Settings:
        label: the column with a document's class
        layers: of the deep one and of a member; the paper's 6 and 1
        hidden_size: of both; the paper's 768, 1536 for its wide variant
        heads: of both; the paper's 12, or 24 of its wide variant
        members: shallow models in the committee, 2 or more
        average: of what the committee takes the mean; the paper does not say
        vocabulary: tokens learnt from the corpus; the paper's 30,522 suit a million documents, 4,096 a thousand
        epochs: of pretraining and of fine-tuning; the paper's 50 and 50
        learning_rate: the peak of both; the paper's 5e-5 suits its size and epochs, a hidden size of 96 wants 1e-3
        sequence_length: tokens of a document that are read; the paper's 128
    """
    from metier.pretrain.from_scratch import Size
    from metier.pretrain.tiny_models.arms import Bench
    from metier.pretrain.tiny_models.measured import overlap

    training, testing = list(train.rows()), list(test.rows())
    counts = _check(training, testing, label, members, epochs, layers)
    folder = work_folder(workdir, "tiny")
    sizes = [Size(layers=count, hidden_size=hidden_size, heads=heads) for count in layers]
    bench = Bench(corpus, training, testing, label, list(counts), epochs, learning_rate, vocabulary, sequence_length, folder)
    deep = bench.pretrained("deep", sizes[0], seed, None)
    bench.read(deep)
    shallow = [bench.pretrained(f"member-{number}", sizes[1], seed + 1 + number, deep) for number in range(members)]
    tuned = [bench.tuned(f"member-{number}", model, seed + 1 + number) for number, model in enumerate(shallow)]
    networks: Mapping[Arm, Sequence[Any]] = {
        "deep": [bench.tuned("deep", deep, seed)],
        "deep, not pretrained": [bench.tuned("untrained", bench.initial("deep"), seed)],
        "members": tuned,
        "one pretraining": [bench.tuned(f"same-{number}", shallow[0], seed + 101 + number) for number in range(members)],
    }
    share = overlap((row["text"] for row in corpus.rows()), (row["text"] for row in training + testing), deep.tokenizer())
    findings = bench.findings(networks, average, share, counts, seed)
    logger.info("; ".join(f"{one.arm} {one.value:.3f}" for one in findings.accuracies))
    return TinyModels(*bench.stored(networks["deep"][0], tuned, average, deep), findings)


def _check(
    train: Sequence[Row], test: Sequence[Row], label: str, members: int, epochs: tuple[float, float], layers: tuple[int, int]
) -> dict[str, int]:
    """Training documents by class."""
    if not train or not test:
        raise ValueError(f"{len(train)} documents to train on and {len(test)} to test: give some of both")
    for name, rows in (("train", train), ("test", test)):
        if label not in rows[0]:
            raise ValueError(f"{name} has no column {label!r}: name the column of classes in `label`; it has {sorted(rows[0])}")
    counts = Counter(str(row[label]) for row in train)
    if len(counts) < 2:
        raise ValueError(f"all documents are of class {next(iter(counts))!r}: there is nothing to tell apart")
    if unknown := sorted({str(row[label]) for row in test} - set(counts)):
        raise ValueError(f"the test has classes {unknown} that training lacks: they could never be named")
    if members < 2 or min(layers) < 1 or min(epochs) <= 0:
        raise ValueError(f"members={members}, layers={layers}, epochs={epochs}: give 2, 1 and more than 0, at least")
    return dict(sorted(counts.items()))
