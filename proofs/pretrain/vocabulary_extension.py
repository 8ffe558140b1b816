"""An extended vocabulary shortens the new language and leaves the old one alone.

Contradicted if a protected text gets other tokens, if a text does not come back from its tokens, if an old row of the embedding changes, if a
new row is not the mean of its pieces' rows, if the logits of old tokens on old text differ by more than fp32 rounding, or if the text that
merges were learnt from takes as many tokens as before.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from metier.artifacts import Corpus
from metier.core.evidence import Check, Evidence, exact
from metier.models.source import open_model
from metier.pretrain.vocabulary_extension import vocabulary_extension
from metier.pretrain.vocabulary_extension.merges import learn, pairs, words

RUSSIAN = [
    "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении "
    "друг друга в духе братства.",
    "Каждый человек имеет право на жизнь, на свободу и на личную неприкосновенность.",
    "Никто не должен содержаться в рабстве или в подневольном состоянии; рабство и работорговля запрещаются во всех их видах.",
    "Все люди равны перед законом и имеют право, без всякого различия, на равную защиту закона.",
]
GREEK = [
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Κάθε άτομο έχει δικαίωμα στη ζωή.",
]
ENGLISH = [
    "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience.",
    "def mean(values):\n    return sum(values) / len(values)  # naïve",
    "In 1948 the declaration was read to 58 members; 48 of them voted for it.",
]


def prove(quick: bool) -> Evidence:
    """Articles of the Universal Declaration of Human Rights in Russian as the new language; Greek and English are protected."""
    checks = [check for source in (["tiny"] if quick else ["tiny", "smollm2"]) for check in _checks(source)]
    return exact(
        claim="an extended vocabulary shortens the new language and leaves the old one as it was",
        metric="largest difference",
        checks=checks,
        notes="fp32; protected texts share bytes with the new language (Greek and Cyrillic letters begin with the same ones)",
    )


def _checks(source: str) -> list[Check]:
    base = open_model(source)
    protected = [*GREEK, *ENGLISH]
    with tempfile.TemporaryDirectory() as folder:
        made = vocabulary_extension(base, _corpus(RUSSIAN), _corpus(protected), new_tokens=120, min_count=2, workdir=Path(folder))
        old, new = base.tokenizer(), made.tokenizer()
        before, after = base.load(torch.float32), made.load(torch.float32)
    same = [new(text)["input_ids"] == old(text)["input_ids"] for text in protected]
    back = [new.decode(new(text)["input_ids"]) == text for text in [*RUSSIAN, *protected]]
    first = before.get_input_embeddings().weight.shape[0]
    rows_old, rows_new = (network.get_input_embeddings().weight.detach() for network in (before, after))
    names = {number: name for name, number in old.get_vocab().items()}
    merges = learn(words(RUSSIAN, old), names, 120, protected=pairs(words(protected, old)), ascii_pieces=True, min_count=2)
    means = torch.stack([rows_old[list(merge.pieces)].mean(0) for merge in merges])
    logits = 0.0
    for text in protected:
        ids = old(text, return_tensors="pt").input_ids
        with torch.no_grad():
            theirs, ours = before(ids).logits, after(ids).logits[..., :first]
        logits = max(logits, float((theirs - ours).abs().max() / theirs.abs().max()))
    shares = [sum(len(words_(text)["input_ids"]) for text in RUSSIAN) for words_ in (new, old)]
    return [
        Check(f"{source}: protected texts with other tokens", float(same.count(False)), 0.5),
        Check(f"{source}: texts that do not come back", float(back.count(False)), 0.5),
        Check(f"{source}: old rows", float((rows_new[:first] - rows_old).abs().max()), 1e-30),
        Check(f"{source}: new rows against the mean of their pieces", float((rows_new[first:] - means).abs().max()), 2e-3),
        Check(f"{source}: logits of old tokens, relative", logits, 1e-5),
        Check(f"{source}: tokens of the new language, of those before", shares[0] / shares[1], 0.999),
    ]


def _corpus(texts: list[str]) -> Corpus:
    return Corpus.from_rows([{"id": str(number), "text": text, "source": "declaration"} for number, text in enumerate(texts)])
