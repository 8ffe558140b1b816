"""`curate.rephrase`: documents, and beside them the same documents in a model's words."""

from __future__ import annotations

import logging
import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from metier.artifacts import Corpus, Model
from metier.curate.rephrase.passages import Passage, is_prose, split_passages
from metier.curate.rephrase.styles import CLOSING, OPENING, STYLES, request
from metier.engines.data.language import identify
from metier.engines.generate.backend import Sampling
from metier.engines.generate.synthesis import PILOT, Account, Budget, TokenCounter, blocks, token_counter
from metier.engines.generate.verify import Rules, core, fault
from metier.method import method
from metier.models.language_model import Completion, LanguageModel, Prompt
from metier.progress import track

_MOST_NEW = 1.5  # tokens of an answer by those of the longest passage
_LEAST_REWRITTEN = 0.5  # share of a document's characters below which its rewrite would be a copy
_SURE = 0.5

logger = logging.getLogger(__name__)


@method(
    paper="Rephrasing natural text data with different languages and quality levels, arXiv 2410.20796; WRAP, arXiv 2401.16380",
    claim="every rewrite that is kept passed the checks, every other is counted by its fault, and no call breaks the budget",
)
def rephrase(
    corpus: Corpus,
    writer: LanguageModel,
    base: Model | None = None,
    *,
    styles: dict[str, float] = {"easy": 1, "medium": 1, "hard": 1, "qa": 1},  # noqa: B006 (a setting is never changed)
    synthetic_share: float = 0.5,
    levels: int = 4,
    rewrite_levels: list[int] | None = None,
    max_passage_tokens: int = 350,
    min_passage_chars: int = 100,
    rules: Rules = Rules(length=None),  # noqa: B008 (frozen)
    chat: bool = True,
    temperature: float = 0.7,
    top_p: float = 0.95,
    budget: Budget = Budget(),  # noqa: B008 (frozen)
    seed: int = 0,
) -> Corpus:
    """The corpus as it is, each document followed by its rewrite: the same passages in a writer's words, in their order.

    Calls, tokens and cost are logged before the first call, and again after 50 documents from what was measured; the budget holds
    for the whole job. Answers are cached: a run that was cut off goes on. A passage whose rewrite fails a check
    (engines/generate/verify.py) stands in the rewrite as it was, as do short passages and those that are no prose; a rewrite of
    which more than half is original is dropped. Failed answers are dropped rows ("rewrite: numbers"), to be read in dropped/.

    Columns: those of the corpus, and is_synthetic, source_id (the document), styles (one a passage of a rewrite, "" where it is
    original), rewritten (share of its characters), passage (what a failed answer was about), writer (None for an original),
    writer_tokens (written for this row), level. With a column `quality` (higher is better) documents are sorted into `levels` groups of equal size, 0 the
    poorest; results are logged by level, since studies disagree on which gain most.

    `base` counts tokens where the writer is an endpoint; without it four bytes are a token. Differs from the paper: prompts are our
    own, one limit of tokens holds for all answers (1.5 times the longest passage), originals are never left out for the mixture: `synthetic_share`
    is aimed at by how many documents are rewritten. Raises ValueError for settings out of range and for a plan that breaks the budget,
    RuntimeError when it is used up on the way, and when a writer answers nothing at all.
    Settings:
        styles: weights by style, of easy, medium, hard, qa, tutorial, faq; one is drawn for each passage
        synthetic_share: of the tokens, above 0, at most 0.5 (each document once more, as in WRAP); a third did best at scale (2510.01631)
        levels: groups by the column `quality`, 1 or more
        rewrite_levels: which of them are rewritten, 0 the poorest; null for all
        max_passage_tokens: of the writer, at least 20; the paper's 350, since longer passages make writers leave things out
        min_passage_chars: shorter passages are left as they are
        rules: bounds of the checks, as {min_kept, copy_limit, min_related, language, length}; length null takes each style's own
        chat: whether the writer is asked with messages; false has a base model continue a text
        temperature: of the drawing; 0 takes the likeliest words
        top_p: least probability of the words that are drawn from, 0 to 1
        budget: prices and bounds, as {input_price, output_price, max_cost, max_tokens}; prices are for a million tokens
    """
    _check(styles, synthetic_share, levels, rewrite_levels, max_passage_tokens)
    if rules.language:
        identify([])  # says at once where the extra for it is missing
    sampling = Sampling(math.ceil(_MOST_NEW * max_passage_tokens), float(temperature), float(top_p), (CLOSING,), seed)
    account = Account(writer, sampling, budget, token_counter(writer, base))
    limits = _level_limits(corpus, levels, rewrite_levels)
    jobs = _Jobs(
        styles, synthetic_share, rewrite_levels, limits, max_passage_tokens, min_passage_chars, rules, chat, seed, account.counter
    )
    total = 0

    def requests() -> Iterator[tuple[Prompt, int]]:
        nonlocal total
        for row in track(corpus.all_rows(), "planning", unit="document"):
            total += 1
            yield from ((part.prompt, part.expected) for part in jobs.of(row).parts if part.prompt)

    account.plan(requests())
    made, tally = list[dict[str, Any]](), _Tally()
    for block in blocks(track(corpus.all_rows(), "rewriting", total=total, unit="document")):
        work = [jobs.of(row) for row in block]
        answers = iter(account.ask([part.prompt for job in work for part in job.parts if part.prompt]))
        for job in work:
            made += job.rows(answers, writer.name, rules, tally)
        if tally.documents == 0 and len(block) == PILOT < total:
            account.project(len(block), total)
        tally.documents += len(block)
    tally.log(account)
    return Corpus.from_rows(made, columns=["id", "text", "source"])


@dataclass(frozen=True)
class _Part:
    """A passage with what is asked about it; `prompt` is "" for one that is left as it is."""

    passage: Passage
    style: str = ""
    prompt: Prompt = ""
    expected: int = 0


@dataclass
class _Tally:
    """Counts of answers by fault (None for good ones), and of good ones by level."""

    faults: Counter[str | None] = field(default_factory=Counter)
    levels: Counter[tuple[int | None, bool]] = field(default_factory=Counter)
    documents: int = 0

    def log(self, account: Account) -> None:
        asked, good = self.faults.total(), self.faults[None]
        logger.info(
            "%d documents: %d of %d answers kept, others %s; %d tokens read, %d written, cost %.4g",
            self.documents,
            good,
            asked,
            {name: count for name, count in self.faults.most_common() if name is not None},
            account.input_tokens,
            account.output_tokens,
            account.budget.cost(account.input_tokens, account.output_tokens),
        )
        for level in sorted({level for level, _ in self.levels if level is not None}):
            kept = self.levels[level, True]
            logger.info("quality level %d: %d of %d answers kept", level, kept, kept + self.levels[level, False])


@dataclass(frozen=True)
class _Job:
    """A document and its passages; no passages for one that is not rewritten."""

    row: Mapping[str, Any]
    level: int | None
    parts: Sequence[_Part]

    def rows(self, answers: Iterator[Completion], writer: str, rules: Rules, tally: _Tally) -> Iterator[dict[str, Any]]:
        """The document, its rewrite where one was tried, and what failed."""
        own = {"source_id": self.row["id"], "level": self.level}
        yield {
            **self.row,
            **own,
            "is_synthetic": False,
            "styles": [],
            "rewritten": 0.0,
            "passage": None,
            "writer": None,
            "writer_tokens": 0,
        }
        asked = [part for part in self.parts if part.prompt]
        if not asked:
            return
        given = {part.passage: next(answers) for part in asked}
        text, end, rewritten, used, failed = "", 0, 0, list[str](), list[dict[str, Any]]()
        for number, part in enumerate(self.parts):
            source = self.row["text"][part.passage.start : part.passage.end]
            told, style = source, ""
            if part.prompt:
                answer = given[part.passage]
                new = core(answer.text, source, OPENING)
                wrong = fault(answer, new, source, replace(rules, length=rules.length or STYLES[part.style].length))
                tally.faults[wrong] += 1
                tally.levels[self.level, wrong is None] += 1
                if wrong is None:
                    told, style, rewritten = new, part.style, rewritten + len(source)
                else:
                    failed.append(self._failed(number, part.style, answer, source, wrong))
            text += self.row["text"][end : part.passage.start] + told
            end = part.passage.end
            used.append(style)
        share = rewritten / max(1, sum(part.passage.end - part.passage.start for part in self.parts))
        reason = None if share >= _LEAST_REWRITTEN else "mostly original"
        tokens = sum(answer.num_tokens for answer in given.values()) - sum(row["writer_tokens"] for row in failed)
        shared = {**own, "is_synthetic": True, "writer": writer}
        if rewritten:
            yield {
                **self.row, **shared, "id": f"{self.row['id']}#rewrite", "text": text + self.row["text"][end:], "styles": used, "rewritten": share,
                "passage": None, "writer_tokens": tokens, "drop_reason": reason,
            }  # fmt: skip
        yield from ({**self.row, **shared, **row} for row in failed)

    def _failed(self, number: int, style: str, answer: Completion, source: str, wrong: str) -> dict[str, Any]:
        return {
            "id": f"{self.row['id']}#{number}", "text": answer.text or (answer.error or ""), "styles": [style], "rewritten": 0.0,
            "passage": source, "writer_tokens": answer.num_tokens, "drop_reason": f"rewrite: {wrong}",
        }  # fmt: skip


@dataclass(frozen=True)
class _Jobs:
    """The settings that say what is asked about a document. A document's job depends on its id, its text and the seed alone."""

    styles: Mapping[str, float]
    synthetic_share: float
    rewrite_levels: Sequence[int] | None
    limits: Sequence[float] | None
    max_tokens: int
    min_chars: int
    rules: Rules
    chat: bool
    seed: int
    counter: TokenCounter

    def of(self, row: Mapping[str, Any]) -> _Job:
        quality = row.get("quality")
        known = self.limits is not None and quality is not None and not math.isnan(quality)
        level = bisect_right(list(self.limits or ()), float(quality or 0)) if known else None
        generator = random.Random(f"{self.seed} {row['id']}")
        chosen = generator.random() < self.synthetic_share / (1 - self.synthetic_share)
        if not chosen or row.get("drop_reason") is not None or row.get("error") is not None:
            return _Job(row, level, [])
        if self.rewrite_levels is not None and level not in self.rewrite_levels:
            return _Job(row, level, [])
        passages = split_passages(row["text"], max_tokens=self.max_tokens, counter=self.counter)
        return _Job(
            row, level, [self._part(row["text"][passage.start : passage.end], passage, generator) for passage in passages]
        )

    def _part(self, source: str, passage: Passage, generator: random.Random) -> _Part:
        [name] = generator.choices(list(self.styles), list(self.styles.values()))
        if len(source) < self.min_chars or not is_prose(source):
            return _Part(passage)
        language = None
        if self.rules.language:
            [found] = identify([source])
            language = found.label.partition("_")[0] if found.score >= _SURE else None
        prompt = request(source, STYLES[name], language, chat=self.chat)
        return _Part(passage, name, prompt, math.ceil(STYLES[name].expected * passage.tokens))


def _level_limits(corpus: Corpus, levels: int, rewrite_levels: list[int] | None) -> list[float] | None:
    """Where a level ends and the next begins; None without a column `quality`."""
    if "quality" not in corpus.frame().column_names:
        if rewrite_levels is not None:
            raise ValueError(
                f"rewrite_levels={rewrite_levels} needs a column `quality` in the corpus: fill it, or leave the setting out"
            )
        return None
    known = sorted(row["quality"] for row in corpus.rows() if row["quality"] is not None and not math.isnan(row["quality"]))
    return [known[len(known) * number // levels] for number in range(1, levels)] if known else []


def _check(styles: Mapping[str, float], share: float, levels: int, rewrite_levels: list[int] | None, max_tokens: int) -> None:
    unknown = [name for name in styles if name not in STYLES]
    if unknown or not styles or min(styles.values()) < 0 or not 0 < sum(styles.values()) < math.inf:
        raise ValueError(f"styles={styles}: give weights, some above 0, for any of {', '.join(STYLES)}")
    if not 0 < share <= 0.5:
        raise ValueError(f"synthetic_share={share}: give more than 0 and at most 0.5, which rewrites every document once")
    if levels < 1 or not set(rewrite_levels or []) <= set(range(levels)):
        raise ValueError(f"levels={levels}, rewrite_levels={rewrite_levels}: give 1 or more levels, and some of 0 to levels - 1")
    if max_tokens < 20:
        raise ValueError(f"max_passage_tokens={max_tokens} leaves no passage: give 20 or more, such as 350")
