"""`curate.thinking_augmented`: documents, each with the thoughts of an expert about it."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from metier.artifacts import Corpus, Model
from metier.curate.thinking_augmented.prompts import CLOSING, Position, compose, has_wrong_sum, request, thought_in
from metier.engines.data.language import identify
from metier.engines.generate.backend import Sampling
from metier.engines.generate.synthesis import PILOT, Account, Budget, TokenCounter, blocks, token_counter
from metier.engines.generate.verify import Rules, fault
from metier.method import method
from metier.models.language_model import Completion, LanguageModel, Prompt
from metier.progress import track

_EXPECTED = 1500  # tokens of a thought: between the paper's means, about 1,000 for light reading and 1,800 for mathematics

logger = logging.getLogger(__name__)


@method(
    paper="Thinking Augmented Pre-training, arXiv 2509.20186",
    claim="answers that take several steps are learnt from fewer tokens when documents carry the steps as thoughts",
)
def thinking_augmented(
    corpus: Corpus,
    writer: LanguageModel,
    base: Model | None = None,
    *,
    augment_share: float = 1.0,
    doc_tokens: int = 2000,
    think_tokens: int = 8000,
    min_doc_tokens: int = 50,
    position: Position = "after",
    keep_tags: bool = True,
    unfinished: Literal["drop", "keep"] = "drop",
    check_sums: bool = True,
    rules: Rules = Rules(length=None, min_kept=0.0, min_related=0.05, copy_limit=0.5),  # noqa: B008 (frozen)
    chat: bool = True,
    temperature: float = 0.6,
    top_p: float = 0.9,
    budget: Budget = Budget(),  # noqa: B008 (frozen)
    seed: int = 0,
) -> Corpus:
    """The corpus with a thought after each document: what a writer, thinking as an expert would, says about it, in think tags.

    To be trained on as ordinary text with the loss on every token: `pretrain.continued` with `sequence_length: 8192`, or
    `thinking_sequences` for a loss on one part. Calls, tokens and cost are logged before the first call (with 1,500 tokens a thought)
    and again after 50 documents from what was measured, with the factor by which the corpus grows; the budget holds for the whole
    job. Answers are cached: a run that was cut off goes on. A document whose thought fails a check (engines/generate/verify.py)
    stays as it was, and the thought becomes a dropped row ("thought: repetition"), to be read in dropped/.

    Columns: those of the corpus, and source_id, augmented, thought_start and thought_end (characters of `text`; 0 without), doc_tokens
    and thought_tokens (of `base`; without one, of the writer), writer_tokens, finish_reason ("" where nothing was asked), writer.
    Tags that a document holds already get a space inside when it is augmented. A model that ends by itself, without the closing tag, has
    finished its thought: servers do not tell the two apart.
    Differs from the paper: its prompt is paraphrased; thoughts are checked. Raises ValueError for settings out of range and for a plan
    that breaks the budget, RuntimeError when it is used up on the way, and when a writer answers nothing at all.
    Settings:
        augment_share: of the documents, above 0, at most 1; less keeps the model from thinking aloud when not asked
        doc_tokens: of a document that the writer is shown; the paper's 2000
        think_tokens: most of a thought; the paper's 8000
        min_doc_tokens: shorter documents are left as they are
        position: of the thought; before is no way of the paper
        keep_tags: whether the thought stands in think tags; false leaves plain text
        unfinished: what becomes of a thought that was cut at think_tokens; a kept one says so in finish_reason
        check_sums: whether a thought with a wrong sum of plain numbers fails
        rules: bounds of the checks, as {min_related, copy_limit, language, min_kept, length}
        chat: whether the writer is asked with messages; false has a base model continue a text
        temperature: of the drawing; 0.6 as in the paper, 0 takes the likeliest words
        top_p: least probability of the words that are drawn from, 0 to 1; the paper's 0.9
        budget: prices and bounds, as {input_price, output_price, max_cost, max_tokens}; prices are for a million tokens
    """
    if not 0 < augment_share <= 1:
        raise ValueError(f"augment_share={augment_share} is no share: give more than 0 and at most 1")
    if doc_tokens < 1:
        raise ValueError(f"doc_tokens={doc_tokens} shows the writer nothing: give 1 or more, such as 2000")
    if rules.language:
        identify([])  # says at once where the extra for it is missing
    sampling = Sampling(think_tokens, float(temperature), float(top_p), (CLOSING,), seed)
    account = Account(writer, sampling, budget, token_counter(writer, base))
    own = TokenCounter.of(base) if base is not None else account.counter
    thinking = _Thinking(rules, unfinished == "keep", check_sums, position, keep_tags, writer.name, own)
    total = 0

    def prompt_of(row: Mapping[str, Any]) -> Prompt:
        if row.get("drop_reason") is not None or row.get("error") is not None:
            return ""
        shown = account.counter.beginning(row["text"], doc_tokens)
        chosen = random.Random(f"{seed} {row['id']}").random() < augment_share
        return request(shown, chat=chat) if chosen and account.counter.count(shown) >= min(min_doc_tokens, doc_tokens) else ""

    def requests() -> Iterator[tuple[Prompt, int]]:
        nonlocal total
        for row in track(corpus.all_rows(), "planning", unit="document"):
            total += 1
            if prompt := prompt_of(row):
                yield prompt, min(_EXPECTED, think_tokens)

    account.plan(requests())
    made, tally = list[dict[str, Any]](), _Tally()
    for block in blocks(track(corpus.all_rows(), "thinking", total=total, unit="document")):
        prompts = [prompt_of(row) for row in block]
        answers = iter(account.ask([prompt for prompt in prompts if prompt]))
        for row, prompt in zip(block, prompts, strict=True):
            made += thinking.rows(row, next(answers) if prompt else None, tally)
        if tally.documents == 0:
            logger.info("by the first %d documents the corpus grows %.2f-fold", len(block), tally.growth)
            if len(block) == PILOT < total:
                account.project(len(block), total)
        tally.documents += len(block)
    tally.log(account)
    return Corpus.from_rows(made, columns=["id", "text", "source"])


@dataclass
class _Tally:
    """Counts of thoughts by fault (None for good ones), and tokens of documents and thoughts that are kept."""

    faults: Counter[str | None] = field(default_factory=Counter)
    documents: int = 0
    doc_tokens: int = 0
    thought_tokens: int = 0

    @property
    def growth(self) -> float:
        return (self.doc_tokens + self.thought_tokens) / self.doc_tokens if self.doc_tokens else 1.0

    def log(self, account: Account) -> None:
        logger.info(
            "%d documents: %d of %d thoughts kept, others %s; the corpus grew %.2f-fold; %d tokens read, %d written, cost %.4g",
            self.documents,
            self.faults[None],
            self.faults.total(),
            {name: count for name, count in self.faults.most_common() if name is not None},
            self.growth,
            account.input_tokens,
            account.output_tokens,
            account.budget.cost(account.input_tokens, account.output_tokens),
        )


@dataclass(frozen=True)
class _Thinking:
    """How an answer becomes rows. counter: of the model to be trained"""

    rules: Rules
    keep_unfinished: bool
    check_sums: bool
    position: Position
    keep_tags: bool
    writer: str
    counter: TokenCounter

    def rows(self, row: Mapping[str, Any], answer: Completion | None, tally: _Tally) -> Iterator[dict[str, Any]]:
        """The document with its thought, or the document and the thought that failed."""
        doc_tokens = self.counter.count(row["text"] or "") if row.get("error") is None else 0
        plain = {
            **row, "source_id": row["id"], "augmented": False, "thought_start": 0, "thought_end": 0, "doc_tokens": doc_tokens,
            "thought_tokens": 0, "writer_tokens": 0, "finish_reason": "", "writer": None,
        }  # fmt: skip
        tally.doc_tokens += doc_tokens if row.get("drop_reason") is None else 0
        if answer is None:
            yield plain
            return
        thought = thought_in(answer.text)
        wrong = self._fault(answer, thought, row["text"])
        tally.faults[wrong] += 1
        asked = {"writer_tokens": answer.num_tokens, "finish_reason": answer.finish_reason, "writer": self.writer}
        if wrong is not None:
            yield plain
            failed = {
                "id": f"{row['id']}#thought",
                "text": answer.text or (answer.error or ""),
                "drop_reason": f"thought: {wrong}",
            }
            yield plain | asked | failed
            return
        text, start, end = compose(row["text"], thought, position=self.position, keep_tags=self.keep_tags)
        tokens = self.counter.count(thought)
        tally.thought_tokens += tokens
        yield (
            plain
            | asked
            | {"text": text, "augmented": True, "thought_start": start, "thought_end": end, "thought_tokens": tokens}
        )

    def _fault(self, answer: Completion, thought: str, document: str) -> str | None:
        finished = answer if not self.keep_unfinished else Completion(answer.text, answer.num_tokens, error=answer.error)
        wrong = fault(finished, thought, document, self.rules)
        return "wrong sum" if wrong is None and self.check_sums and has_wrong_sum(thought) else wrong
