"""`curate.redstone`: crawled pages to prose, and to what prose extraction destroys: code, mathematics, questions with answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from metier.artifacts import Batch, Corpus
from metier.artifacts.files import passing_folder
from metier.engines.data.step import map_step
from metier.method import method
from metier.models.language_model import LanguageModel

if TYPE_CHECKING:
    from metier.curate.redstone.multiple_choice import Copied

_OWN_COLUMNS = ("prose", "whole", "earlier_reason", "earlier_error", "media_type")
_COUNTS = ("num_formulas", "num_code", "num_bad_formulas", "num_lost", "code_language")

logger = logging.getLogger(__name__)


class Curated(NamedTuple):
    """The same pages five times, each with what one branch makes of them in `text`, or `drop_reason`, the page's `drop_value` and
    the `drop_threshold` it is beyond.

    All but `general` have formulas ($, $$) and code (fences) in their text, and the columns num_formulas, num_code,
    num_bad_formulas (left out for want of TeX), num_lost and code_language.
    """

    general: Corpus
    code: Corpus
    mathematics: Corpus
    multiple_choice: Corpus
    open_questions: Corpus


@method(
    paper="RedStone: Curating General, Code, Math, and QA Data for Large Language Models, arXiv 2412.03398",
    claim="formulas and code of a page come through word for word; extraction of the main text loses about half of them",
)
def redstone(
    pages: Corpus,
    examples: Corpus | None = None,
    copier: LanguageModel | None = None,
    *,
    min_language_score: float = 0.65,
    limits: dict[str, float] | None = None,
    math_min_commands: int = 5,
    choice_probability: float = 0.825,
    formula_policy: Literal["drop_formula", "reject_page"] = "drop_formula",
    check_layout: bool = False,
    max_page_bytes: int = 10_000_000,
    seed: int = 0,
    workdir: Path | None = None,
) -> Curated:
    """Five corpora of crawled pages: prose, code, mathematics, multiple-choice questions, and questions with written answers.

    pages: HTML source in `text` where `media_type` is text/html (`data.read` with html=source), else plain text, which has no code
    left; `url` is looked at where it is there. examples: text, branch (mathematics, multiple_choice, open_questions) and label (1
    to keep, 0 not), ten or more of each label; they train the linear classifier that decides where the keywords of a branch leave
    a page in doubt. A branch without examples goes by its keywords: fewer than `math_min_commands` are no mathematics, and any page
    with the marks of questions is one. copier: copies the multiple-choice questions out of their pages; what is not nine
    tenths in the page is dropped (`copier_tokens` says what it wrote).

    English only, since the thresholds are for English: for other languages derive them with curate.fineweb2. Copies are left to
    curate.duplicates, narrow scopes (a shard, a snapshot) first, which scored best in the paper.
    Differs from the authors' code: a formula that has no TeX is left out, not its page, unless `formula_policy` says otherwise;
    formulas and code are marked with $ and fences, so that neither needs escapes; <pre> without <code> counts; languages of code
    are those that the page names; the words of an n-gram that overlaps itself count once, so that no share exceeds 1; flagged
    sentences go out of their lines and the rest stays in them; labels of choices must follow each other; classifiers are
    logistic regressions of hashed words, not fastText. AsciiMath has no TeX here. Raises ValueError for settings out of range and
    examples that are too few.
    Settings:
        min_language_score: least certainty, 0 to 1, that a page is English (code is taken in any language); 0 takes all
        limits: other thresholds of prose, by rule (curate/redstone/rules.py): {"too few words": 20}; "flagged sentences" is the
            share of words in menus, counters and logins that drops a page, 0.05, and 0 leaves them in
        math_min_commands: different TeX commands that make a page mathematics without a classifier, at least 1
        choice_probability: certainty, 0.5 to 1, from which the classifier drops a page of choices as none
        formula_policy: drop_formula leaves out a formula without TeX; reject_page keeps its page out of mathematics, as the authors do
        check_layout: whether pages of open questions must also look like text; the authors left it off
        max_page_bytes: pages of so many bytes or more are dropped
        workdir: where pages are kept between the branches; null makes a folder that lasts as long as the process
    """
    from metier.curate.redstone.classifier import train_all
    from metier.curate.redstone.pages import BRANCHES, HTML, Standards, judge_pages
    from metier.curate.redstone.rules import FLAGGED, RULES

    known = {name: rule.threshold for name, rule in RULES.items()} | {FLAGGED: 0.05}
    _check(min_language_score, limits or {}, known, math_min_commands, choice_probability, max_page_bytes)
    standards = Standards(
        limits=known | (limits or {}),
        min_language_score=min_language_score,
        max_page_bytes=max_page_bytes,
        math_min_commands=math_min_commands,
        choice_probability=choice_probability,
        formula_policy=formula_policy,
        check_layout=check_layout,
        classifiers=train_all(examples.rows(), seed) if examples is not None else {},
    )
    judged = map_step(_prepared(pages, BRANCHES), partial(judge_pages, standards=standards), batch_rows=200)
    kept = judged.save(passing_folder(workdir, "pages"))
    _warn_without_html(kept, HTML)
    curated = Curated(*[_branch(kept, branch, BRANCHES) for branch in BRANCHES])
    if copier is None:
        return curated
    from metier.curate.redstone.multiple_choice import copy_out

    copied = copy_out(curated.multiple_choice.rows(), copier, seed)
    return curated._replace(multiple_choice=map_step(curated.multiple_choice, partial(put_copies, copied=copied)))


def put_copies(batch: Batch, *, copied: Mapping[str, Copied]) -> Batch:
    """The questions alone as `text`, or why there are none; an earlier reason stands."""
    columns: Batch = {name: list(batch[name]) for name in ("text", "drop_reason", "drop_value", "drop_threshold")}
    columns["copier_tokens"] = [0] * len(batch["id"])
    for row, name in enumerate(batch["id"]):
        if name in copied and batch["drop_reason"][row] is None:
            found = copied[name]
            columns["copier_tokens"][row] = found.num_tokens
            if found.verdict is None:
                columns["text"][row] = found.text
            else:
                columns["drop_reason"][row] = found.verdict.rule
                columns["drop_value"][row], columns["drop_threshold"][row] = map(float, found.verdict[1:])
    return columns


def _check(
    min_language_score: float,
    limits: Mapping[str, float],
    known: Mapping[str, float],
    math_min_commands: int,
    choice_probability: float,
    max_page_bytes: int,
) -> None:
    if not 0 <= min_language_score <= 1:
        raise ValueError(f"min_language_score={min_language_score} is no probability: give a number between 0 and 1")
    if not 0.5 <= choice_probability <= 1:
        raise ValueError(f"choice_probability={choice_probability} is no certainty: give a number between 0.5 and 1")
    if math_min_commands < 1:
        raise ValueError(f"math_min_commands={math_min_commands} makes any page mathematics: give 1 or more")
    if max_page_bytes < 1:
        raise ValueError(f"max_page_bytes={max_page_bytes} drops every page: give 1 or more")
    unknown = sorted(set(limits) - set(known))
    if unknown:
        raise ValueError(f"limits names {unknown[0]!r}, which is no rule: there are {', '.join(known)}")


def _prepared(pages: Corpus, branches: tuple[str, ...]) -> Corpus:
    """The pages with their marks under other names (a saved table keeps only unmarked rows) and empty columns of the types that
    a first batch without any dropped page could not tell."""
    import daft

    frame = pages.frame()
    empty = daft.lit(None).cast(daft.DataType.string())
    for mark, name in (("drop_reason", "earlier_reason"), ("error", "earlier_error")):
        frame = frame.with_column(name, frame[mark] if mark in frame.column_names else empty)
        frame = frame.exclude(mark) if mark in frame.column_names else frame
    for branch in branches:
        frame = frame.with_column(f"{branch}_rule", empty)
        for part in ("value", "threshold"):
            frame = frame.with_column(f"{branch}_{part}", daft.lit(None).cast(daft.DataType.float64()))
    return Corpus(frame)


def _warn_without_html(kept: Corpus, html: str) -> None:
    frame = kept.frame()
    if "media_type" not in frame.column_names or frame.where(frame["media_type"] == html).limit(1).count_rows() == 0:
        logger.warning(
            "no page is HTML source (media_type %s): its code and most formulas were lost before; read with html=source", html
        )


def _branch(kept: Corpus, branch: str, branches: tuple[str, ...]) -> Corpus:
    """The columns of one branch, under the names that a table's funnel reads."""
    frame = kept.frame()
    gone = {*_OWN_COLUMNS, *_COUNTS, *(f"{one}_{part}" for one in branches for part in ("rule", "value", "threshold"))}
    text = frame["prose" if branch == "general" else "whole"].alias("text")
    columns = [text if name == "text" else frame[name] for name in frame.column_names if name not in gone]
    counts = [frame[name] for name in _COUNTS] if branch != "general" else []
    marks = [
        frame["earlier_reason"].fill_null(frame[f"{branch}_rule"]).alias("drop_reason"),
        frame[f"{branch}_value"].alias("drop_value"),
        frame[f"{branch}_threshold"].alias("drop_threshold"),
        frame["earlier_error"].alias("error"),
    ]
    return Corpus(frame.select(*columns, *counts, *marks))
