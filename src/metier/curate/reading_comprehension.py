"""`curate.reading_comprehension`: raw text of a domain with exercises about it, found by patterns or written by a model."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.artifacts import Batch, Corpus, Model
from metier.engines.data.exercises import Exercise, mined_pairs, sentences, word_sentences
from metier.engines.data.reading import compose, title_of
from metier.engines.data.step import map_step
from metier.engines.data.words import words
from metier.engines.data.written_exercises import agreement, believed, pairs_in, recheck, request
from metier.method import method
from metier.models.language_model import LanguageModel
from metier.models.source import file_fingerprint
from metier.progress import track

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KINDS = ("nli", "cause", "paraphrase", "words", "written", "title", "completion")
_RESERVED = 200  # tokens of a row that exercises may take
_AT_ONCE = 512
_LONG_PIECE = 10  # with the mark of a word's beginning
_FEWEST_DOCUMENTS = 5
_AGREE = 0.5

logger = logging.getLogger(__name__)


def _vocabulary_of(*, domain_vocabulary: Path | None = None, **_settings: Any) -> str:
    return file_fingerprint(domain_vocabulary) if domain_vocabulary is not None else ""


@method(
    paper="Adapting Large Language Models via Reading Comprehension, arXiv 2309.09530; TransformLLM, arXiv 2410.21479",
    claim="finds the exercises that the authors' miner finds in a text, and adds written ones that the text bears out",
    fingerprint=_vocabulary_of,
)
def reading_comprehension(
    corpus: Corpus,
    base: Model,
    writer: LanguageModel | None = None,
    *,
    domain: str,
    domain_vocabulary: Path | None = None,
    max_tokens: int = 2048,
    tasks_per_passage: int = 4,
    min_support: float = 0.5,
    ask_again: bool = False,
    chat: bool = True,
    seed: int = 0,
) -> Corpus:
    """The corpus with each text followed by exercises about it, to be trained on as ordinary text (best mixed with general text).

    Patterns find sentences that a connective joins, definitions, topics and sentences of domain words; a `writer` adds questions
    with answers, of which those are kept that the passage bears out. Titles and second halves are asked for besides
    (engines/data/reading.py). `exercises` counts them by kind; `source_id` is the document's id; `way` says where they come from:
    "mined", "written", "mined, written", or "raw" (none: the text, or its title and halves, alone); with a writer `rejected`
    counts what it wrote in vain by reason and `writer_tokens` what that cost.

    A text longer than `max_tokens` less 200 is cut after its last whole sentence: split long documents before. Domain words are
    pieces of ten letters or more that the tokenizer of `base` lacks: of `domain_vocabulary`, or the words of at least five
    documents. The first line is the title where it looks like one. Differs from the authors' code: phrasings are our own; a
    document's exercises depend on its id and the seed alone (theirs change with Python's hash seed); spaces in the passage are
    left as they are; sentences are told by our own rules, which know the abbreviations of law reports. Raises ValueError for
    settings out of range.
    Settings:
        domain: the field, as it is named in questions: biomedicine, contract law
        domain_vocabulary: a SentencePiece model of the domain; null takes the frequent long words of the corpus
        max_tokens: of `base`, for a passage and 200 of exercises, more than 200; 2048 as in the paper
        tasks_per_passage: kinds of exercise that the writer is asked for, 1 to 7
        min_support: least share, 0 to 1, of an answer's words that the passage must hold
        ask_again: whether the writer answers each question a second time without seeing its answer, and only pairs of like
            answers stay
        chat: whether the writer is asked with messages; false has a base model continue a text
    """
    _check(domain, max_tokens, tasks_per_passage, min_support)
    tokenizer = base.tokenizer()
    cut = partial(passage_of, tokenizer=tokenizer, max_tokens=max_tokens - _RESERVED)
    terms = (
        _terms_of_model(domain_vocabulary, tokenizer) if domain_vocabulary is not None else _terms_of_corpus(corpus, tokenizer)
    )
    written: dict[str, Written] | None = None
    if writer is not None:
        ask = _Asking(writer, domain, tasks_per_passage, min_support, ask_again, chat, seed)
        written = ask.of_corpus(corpus, cut)
    return map_step(corpus, partial(add_exercises, cut=cut, terms=terms, written=written, domain=domain, seed=seed))


@dataclass(frozen=True)
class Passage:
    """A document's title (None without one) and the sentences, with the white space between them, that fit."""

    title: str | None
    sentences: list[str]

    @property
    def text(self) -> str:
        return "".join(self.sentences).strip()


def passage_of(text: str, *, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Passage:
    """What of a document is read: its whole sentences up to `max_tokens` tokens; the first tokens of a first sentence that is
    longer."""
    title, body = title_of(text)
    ids = tokenizer(body, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) <= max_tokens:
        return Passage(title, sentences(body))
    parts = sentences(tokenizer.decode(ids[:max_tokens]))
    return Passage(title, parts[:-1] or parts)


@dataclass(frozen=True)
class Terms:
    """Words of the domain, as pieces with a leading "▁"; `model`: the SentencePiece model they are pieces of, None for words as
    such."""

    pieces: frozenset[str]
    model: Any = None

    def split(self, sentence: str) -> list[str]:
        if self.model is not None:
            return list(self.model.encode(sentence, out_type=str))
        return [f"▁{word.lower()}" for word in words(sentence)]


@dataclass(frozen=True)
class Written:
    """What a writer gave for a document."""

    exercises: list[Exercise]
    rejected: dict[str, int] = field(default_factory=dict)
    num_tokens: int = 0


def add_exercises(
    batch: Batch, *, cut: partial[Passage], terms: Terms, written: Mapping[str, Written] | None, domain: str, seed: int
) -> Batch:
    """The step: `text` becomes the passage with its exercises, in rows that no rule has dropped."""
    rows = [
        _row(name, text, cut(text), terms, written, domain, seed) if was is None else _untouched(name, text, written is not None)
        for name, text, was in zip(batch["id"], batch["text"], batch["drop_reason"], strict=True)
    ]
    names = ["text", "source_id", "way", "exercises", *(["rejected", "writer_tokens"] if written is not None else [])]
    return {name: [row[name] for row in rows] for name in names}


def _row(
    name: str, text: str, passage: Passage, terms: Terms, written: Mapping[str, Written] | None, domain: str, seed: int
) -> dict[str, Any]:
    generator = random.Random(f"{seed} {name}")
    mined = mined_pairs(passage.text) + word_sentences(passage.sentences, terms.split, terms.pieces, generator)
    own = (written or {}).get(name, Written([]))
    text, counts = compose(passage.title, passage.sentences, [*mined, *own.exercises], domain, generator)
    way = ", ".join(label for label, found in (("mined", mined), ("written", own.exercises)) if found) or "raw"
    return {
        "text": text,
        "source_id": name,
        "way": way,
        "exercises": {kind: counts.get(kind, 0) for kind in KINDS},
        "rejected": {reason: own.rejected.get(reason, 0) for reason in REASONS},
        "writer_tokens": own.num_tokens,
    }


REASONS = ("failed", "no pair", "empty", "same", "twice", "unsupported", "answered otherwise")


def _untouched(name: str, text: str, asked: bool) -> dict[str, Any]:
    return {
        "text": text,
        "source_id": name,
        "way": "raw",
        "exercises": dict.fromkeys(KINDS, 0),
        "rejected": dict.fromkeys(REASONS, 0) if asked else None,
        "writer_tokens": 0,
    }


@dataclass(frozen=True)
class _Asking:
    """Settings of the writer, and the questions to it."""

    writer: LanguageModel
    domain: str
    num_tasks: int
    min_support: float
    again: bool
    chat: bool
    seed: int

    def of_corpus(self, corpus: Corpus, cut: partial[Passage]) -> dict[str, Written]:
        """By id, for all kept documents."""
        found: dict[str, Written] = {}
        for block in _blocks(corpus):
            passages = [cut(row["text"]).text for row in block]
            found |= dict(
                zip([row["id"] for row in block], self.of_passages([row["id"] for row in block], passages), strict=True)
            )
        wasted = sum((Counter(one.rejected) for one in found.values()), Counter())
        logger.info(
            "%d documents: %d exercises written, %d tokens, rejected %s",
            len(found),
            sum(len(one.exercises) for one in found.values()),
            sum(one.num_tokens for one in found.values()),
            dict(wasted),
        )
        return found

    def of_passages(self, names: list[str], passages: list[str]) -> list[Written]:
        prompts = [
            request(passage, self.domain, self.num_tasks, random.Random(f"{self.seed} {name} tasks"), chat=self.chat)
            for name, passage in zip(names, passages, strict=True)
        ]
        answers = self.writer.generate(prompts, max_new_tokens=128 * self.num_tasks, seed=self.seed)
        found = []
        for answer, passage in zip(answers, passages, strict=True):
            if answer.error is not None:
                found.append(Written([], {"failed": 1}))
                continue
            kept, failed = believed(pairs_in(answer.text), passage, self.min_support)
            found.append(Written(kept, dict(failed), answer.num_tokens))
        return self._asked_again(found, passages) if self.again else found

    def _asked_again(self, found: list[Written], passages: list[str]) -> list[Written]:
        asked = [(place, exercise) for place, one in enumerate(found) for exercise in one.exercises]
        prompts = [recheck(passages[place], exercise.first, chat=self.chat) for place, exercise in asked]
        answers = self.writer.generate(prompts, max_new_tokens=128, seed=self.seed)
        kept: dict[int, list[Exercise]] = {}
        tokens: Counter[int] = Counter()
        for (place, exercise), answer in zip(asked, answers, strict=True):
            tokens[place] += answer.num_tokens
            if answer.error is None and agreement(answer.text, exercise.second) >= _AGREE:
                kept.setdefault(place, []).append(exercise)
        return [
            Written(
                kept.get(place, []),
                one.rejected | {"answered otherwise": len(one.exercises) - len(kept.get(place, []))},
                one.num_tokens + tokens[place],
            )
            for place, one in enumerate(found)
        ]


def _blocks(corpus: Corpus) -> Iterator[list[dict[str, Any]]]:
    rows = track(corpus.rows(), "writing exercises", unit="document")
    while block := list(islice(rows, _AT_ONCE)):
        yield block


def _terms_of_model(file: Path, tokenizer: PreTrainedTokenizerBase) -> Terms:
    import sentencepiece

    if not file.is_file():
        raise ValueError(f"domain_vocabulary={str(file)!r} is no file: give a SentencePiece model, or null")
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    pieces = {model.id_to_piece(number) for number in range(len(model))} - _general(tokenizer)
    return Terms(frozenset(piece for piece in pieces if piece.startswith("▁") and len(piece) > _LONG_PIECE), model)


def _terms_of_corpus(corpus: Corpus, tokenizer: PreTrainedTokenizerBase) -> Terms:
    general, documents = _general(tokenizer), Counter[str]()
    for row in track(corpus.rows(), "looking for domain words", unit="document"):
        documents.update({f"▁{word.lower()}" for word in words(row["text"]) if len(word) >= _LONG_PIECE})
    return Terms(frozenset(word for word, count in documents.items() if count >= _FEWEST_DOCUMENTS and word not in general))


def _general(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The base vocabulary's pieces, with the mark of a word's beginning as SentencePiece writes it."""
    return {piece.replace("Ġ", "▁") for piece in tokenizer.get_vocab()}


def _check(domain: str, max_tokens: int, tasks_per_passage: int, min_support: float) -> None:
    if not domain.strip():
        raise ValueError("domain is empty: name the field as a question would, such as biomedicine")
    if max_tokens <= _RESERVED:
        raise ValueError(f"max_tokens={max_tokens} leaves no room beside the {_RESERVED} for exercises: give more, such as 2048")
    if not 1 <= tasks_per_passage <= 7:
        raise ValueError(f"tasks_per_passage={tasks_per_passage}: there are 7 kinds of exercise; give 1 to 7")
    if not 0 <= min_support <= 1:
        raise ValueError(f"min_support={min_support} is no share: give a number between 0 and 1, such as 0.5")
