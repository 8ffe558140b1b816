"""The step that reads a page once and says for each branch what text it gives, or why none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metier.artifacts import Batch
from metier.curate.redstone import mathematics, multiple_choice, open_questions
from metier.curate.redstone.blocks import PageText, page_text
from metier.curate.redstone.classifier import Classifier
from metier.curate.redstone.rules import FLAGGED, Verdict, failed_rule, measure, without_flagged
from metier.engines.data.extract import extract
from metier.engines.data.language import identify

BRANCHES = ("general", "code", "mathematics", "multiple_choice", "open_questions")
ENGLISH = "eng_Latn"
HTML = "text/html"
FormulaPolicy = Literal["drop_formula", "reject_page"]
_OF_CHANGES = re.compile(r"blame\.php|diff\.php")
_COUNTS = ("num_formulas", "num_code", "num_bad_formulas", "num_lost")


@dataclass(frozen=True)
class Standards:
    """What a page must be. limits: thresholds of prose by rule; classifiers: by branch, none for branches that keywords decide."""

    limits: Mapping[str, float]
    min_language_score: float
    max_page_bytes: int
    math_min_commands: int
    choice_probability: float
    formula_policy: FormulaPolicy
    check_layout: bool
    classifiers: Mapping[str, Classifier]


def judge_pages(batch: Batch, *, standards: Standards) -> Batch:
    """Adds `prose` and `whole` (the text without and with formulas and code), for each branch BRANCH_rule, BRANCH_value and
    BRANCH_threshold, and counts of blocks. Rows with `earlier_reason` or `earlier_error` get nothing but empty ones."""
    size = len(batch["text"])
    kinds, urls = (batch.get(name) or [None] * size for name in ("media_type", "url"))
    spent = [reason is not None or error is not None for reason, error in zip(batch["earlier_reason"], batch["earlier_error"])]
    too_large = [not skip and is_larger(text, standards.max_page_bytes) for text, skip in zip(batch["text"], spent)]
    prose, whole = list[str](), list[PageText]()
    for text, kind, skip in zip(batch["text"], kinds, map(any, zip(spent, too_large)), strict=True):
        is_html = kind == HTML
        prose.append("" if skip else extract(text) if is_html else text)
        whole.append(PageText("") if skip else page_text(text) if is_html else PageText(text))
    prose_scores, whole_scores = _english(prose), _english([page.text for page in whole])
    columns: dict[str, list[Any]] = {"prose": [], "whole": [page.text for page in whole]}
    columns |= {f"{branch}_{part}": [] for branch in BRANCHES for part in ("rule", "value", "threshold")}
    for row in range(size):
        verdicts: dict[str, Verdict | None] = dict.fromkeys(BRANCHES)
        if too_large[row]:
            verdicts = dict.fromkeys(BRANCHES, Verdict("page too large", len(batch["text"][row]), standards.max_page_bytes))
        elif not spent[row]:
            prose[row], verdicts["general"] = judge_prose(prose[row], prose_scores[row], standards)
            verdicts |= judge_whole(whole[row], whole_scores[row], urls[row], standards)
        for branch, verdict in verdicts.items():
            for part, value in zip(("rule", "value", "threshold"), verdict or (None, None, None), strict=True):
                columns[f"{branch}_{part}"].append(float(value) if isinstance(value, int) else value)
    columns["prose"] = prose
    columns |= {name: [getattr(page, name) for page in whole] for name in _COUNTS}
    return columns | {"code_language": [page.language for page in whole]}


def is_larger(text: str, most: int) -> bool:
    """Whether a text has `most` bytes or more in UTF-8."""
    return len(text) >= most or (len(text) * 4 >= most and len(text.encode("utf-8", "surrogatepass")) >= most)


def judge_prose(text: str, english: float, standards: Standards) -> tuple[str, Verdict | None]:
    """A text without its flagged sentences, and why the general corpus does not take it."""
    if (verdict := _no_text(text, english, standards.min_language_score)) is not None:
        return text, verdict
    if (verdict := failed_rule(measure(text), standards.limits)) is not None:
        return text, verdict
    most = standards.limits[FLAGGED]
    return without_flagged(text, most) if most > 0 else (text, None)


def judge_whole(page: PageText, english: float, url: str | None, standards: Standards) -> dict[str, Verdict | None]:
    """Why the branches other than the general one do not take a page. That of code takes any language."""
    foreign = _no_text(page.text, english, standards.min_language_score)
    found = standards.classifiers
    verdicts: dict[str, Verdict | None] = {"code": _of_code(page, url)}
    verdicts["mathematics"] = foreign or mathematics.judge(page.text, standards.math_min_commands, found.get("mathematics"))
    if standards.formula_policy == "reject_page" and page.num_bad_formulas > 0:
        verdicts["mathematics"] = verdicts["mathematics"] or Verdict("formula without TeX", page.num_bad_formulas, 0)
    verdicts["multiple_choice"] = foreign or multiple_choice.judge(
        page.text, standards.choice_probability, found.get("multiple_choice")
    )
    verdicts["open_questions"] = foreign or open_questions.judge(page.text, found.get("open_questions"), standards.check_layout)
    return verdicts


def _no_text(text: str, english: float, least: float) -> Verdict | None:
    if not text.strip():
        return Verdict("no text", 0, 1)
    return Verdict("language", english, least) if english < least else None


def _of_code(page: PageText, url: str | None) -> Verdict | None:
    if url is not None and _OF_CHANGES.search(url) is not None:
        return Verdict("page of changes", 1, 0)
    return Verdict("no code", 0, 1) if page.num_code == 0 else None


def _english(texts: list[str]) -> list[float]:
    """How sure it is that each text is English; 0 where another language is likelier."""
    return [found.score if found.label == ENGLISH else 0.0 for found in identify(texts)]
