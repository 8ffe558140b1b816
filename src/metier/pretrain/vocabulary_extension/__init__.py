"""`pretrain.vocabulary_extension`: tokens of a model's own for a language or a field that its tokenizer cuts into crumbs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metier.artifacts import Corpus, Model
from metier.artifacts.files import work_folder
from metier.method import method

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

LITTLE_TEXT = 100_000  # bytes below which merges are of a few documents


@method(
    paper="LLaMA Beyond English, arXiv 2401.01055, section 3.1; its steps in the Chinese-LLaMA-Alpaca project, arXiv 2304.08177",
    claim="fewer tokens for the new language; texts of the old keep their tokens, and their logits to the bit",
)
def vocabulary_extension(
    model: Model,
    corpus: Corpus,
    protected: Corpus | None = None,
    *,
    new_tokens: int = 20_000,
    init: Literal["pieces", "mean", "random", "transformers"] = "pieces",
    noise: float = 0.0,
    min_count: int = 2,
    multiple_of: int = 1,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model with tokens learnt from the corpus, in tokenizer, embedding and head (one matrix where they are tied), not yet trained.

    Byte-level BPE goes on learning where it ended: merges of tokens that stand side by side in the corpus, most frequent first, are
    appended after the old ones. Old ids, rows and merges stay as they were. No merge is made of two tokens that stand side by side in
    `protected`, so those texts keep their tokens; without it no piece of ASCII characters alone is made, so that English and code keep
    theirs. All is checked on the texts themselves before anything is stored.

    New rows mean nothing yet: train the model on the corpus with every weight (a LoRA adapter, which leaves the embedding as it is,
    would never learn them). Below billions of tokens, training without an extension was better in the paper;
    `pretrain.vocabulary_extension.transfer` finds out for your corpus. Differs from the project that the paper studies: merges, not SentencePiece pieces
    that outrank the old ones; their number is what training finds, and 20,000 pieces there left 17,953 new ones.

    Raises TypeError for a tokenizer that is no byte-level BPE and for a network whose rows cannot grow, ValueError for a tokenizer larger
    than the embedding, for a corpus without pairs to merge and for texts that would change.
    Settings:
        new_tokens: at most so many; 20,000 as in the studied project, and fewer for less text than gigabytes
        init: of new rows: pieces (mean of the rows of what the token was split into), mean (of all rows), random (of their spread), or
            transformers (as its own resizing draws them)
        noise: standard deviation added to every number of a new row
        min_count: a pair that stands less often in the corpus is not merged
        multiple_of: rows are padded to a multiple, such as 64 for a GPU
    """
    from metier.pretrain.vocabulary_extension.merges import content, extended, first_free, learn, pairs, words
    from metier.pretrain.vocabulary_extension.rows import check_growable, grow

    if new_tokens < 1 or min_count < 1 or multiple_of < 1:
        raise ValueError(f"new_tokens={new_tokens}, min_count={min_count}, multiple_of={multiple_of}: give 1 or more of each")
    if noise < 0:
        raise ValueError(f"noise={noise} is no standard deviation: give 0 or more")
    tokenizer = model.tokenizer()
    content(tokenizer)
    network, first = model.load(), first_free(tokenizer)
    check_growable(network, first)
    counted = words(_texts(corpus), tokenizer)
    forbidden = pairs(words(_texts(protected), tokenizer)) if protected is not None else set()
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    merges = learn(counted, names, new_tokens, protected=forbidden, ascii_pieces=protected is not None, min_count=min_count)
    if not merges:
        raise ValueError(
            f"no pair of tokens stands {min_count} times in the corpus and may be merged: its texts are too few, or all of its pairs are in "
            "protected texts (without them: in ASCII)"
        )
    folder = work_folder(workdir, "vocabulary") / "model"
    grown = extended(tokenizer, merges, folder)
    facts: dict[str, Any] = _compared(tokenizer, grown, corpus, protected)
    grow(network, [merge.pieces for merge in merges], first, init=init, noise=noise, seed=seed)
    if multiple_of > 1:
        network.resize_token_embeddings(None, pad_to_multiple_of=multiple_of, mean_resizing=False)
    facts |= {"new_tokens": len(merges), "rows": network.get_input_embeddings().weight.shape[0], "init": init}
    logger.info("%d new tokens: %s", len(merges), facts)
    return Model.of(
        network, grown, folder, method="pretrain.vocabulary_extension", base=model.facts.get("source", str(model.path)), **facts
    )


def _texts(corpus: Corpus) -> Iterable[str]:
    return (row["text"] for row in corpus.rows() if row["text"])


def _compared(
    old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, corpus: Corpus, protected: Corpus | None
) -> dict[str, Any]:
    """Tokens a byte of the corpus before and after; raises ValueError where a text is not read back or a protected one changes."""
    num_bytes = before = after = 0
    for text in _texts(corpus):
        ids = new(text, add_special_tokens=False, verbose=False)["input_ids"]
        if new.decode(ids) != old.decode(old(text, add_special_tokens=False, verbose=False)["input_ids"]):
            raise ValueError(
                f"a text is not read back from its new tokens: {text[:80]!r}; its tokenizer does more than merge bytes"
            )
        num_bytes += len(text.encode("utf-8", "surrogatepass"))
        after += len(ids)
        before += len(old(text, add_special_tokens=False, verbose=False)["input_ids"])
    changed = total = 0
    for text in _texts(protected) if protected is not None else ():
        total += 1
        changed += new(text, verbose=False)["input_ids"] != old(text, verbose=False)["input_ids"]
    if changed:
        raise ValueError(
            f"{changed} of {total} protected texts would be read as other tokens: the tokenizer joins words without merges"
        )
    if num_bytes < LITTLE_TEXT:
        logger.warning("the corpus has %d bytes: merges of so little text are those of a few documents", num_bytes)
    return {"fertility_before": before / num_bytes, "fertility_after": after / num_bytes}
