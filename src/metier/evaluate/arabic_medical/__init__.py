"""Arabic medical questions asked of one model or several, and the vote of the several."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from metier.artifacts import Comparison, Scores
from metier.engines.generate.failures import check_failures
from metier.evaluate.arabic_medical.letters import FORMS, Form, meant
from metier.evaluate.arabic_medical.open_answers import bert_score, chrf, rouge_l
from metier.evaluate.arabic_medical.questions import PLAIN, SETS, Question, read_questions
from metier.evaluate.arabic_medical.vote import Member, Rule, Tie
from metier.evaluate.arabic_medical.vote import vote as decide
from metier.method import method
from metier.models.language_model import LanguageModel, Prompt

logger = logging.getLogger(__name__)

Row = dict[str, Any]
VOTE = "vote"  # stands in the column `model`
FEWEST_FOR_WEIGHTS = 50

ROLE = "أنت ممتحن طبي خبير. اقرأ السؤال الآتي بعناية."
CHOOSE = "اكتب حرف الخيار الصحيح فقط، من دون شرح."
WRITE = "أجب باللغة العربية إجابة قصيرة ومباشرة."
ANSWER = "الإجابة:"


def _files(
    *,
    folder: Path,
    sets: list[str] | None = None,
    dev_file: Path | None = None,
    **_: Any,
) -> str:
    files = [folder / f"{name}.csv" for name in (sets if sets is not None else SETS)] + (
        [dev_file] if dev_file is not None else []
    )
    return " ".join(hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "absent" for file in files)


@method(
    paper="Benchmarking the Medical Understanding and Reasoning of Large Language Models in Arabic Healthcare Tasks, "
    "arXiv 2508.15797",
    claim="tells which option an Arabic answer means, and a vote of independent models is worth what the binomial formula says",
    fingerprint=_files,
)
def arabic_medical(
    models: list[LanguageModel],
    earlier: Scores | None = None,
    *,
    folder: Path,
    sets: list[str] | None = None,
    dev_file: Path | None = None,
    vote: Rule = "majority",
    tie: Tie = "best_dev",
    normalise: tuple[Form, ...] = FORMS,
    chat: bool = True,
    max_new_tokens: int = 16,
    max_open_tokens: int = 128,
    bertscore: tuple[str, int] | None = None,
) -> Scores:
    """Every member's answers to the benchmark's files, and with two or more the answers of their vote (model "vote").

    Reads the CSV files of MedArabiQ (arXiv 2505.03427, which may not be passed on: give a folder with your own copy). Choices:
    `chosen` is the option meant (letters.meant), null with failure "unparsed" where none can be told, which is wrong, or where
    the model was kept from answering. A row whose right answer is not among its options is not asked, has denominator 0 and
    says so in `failure`. Open answers: numerator is chrF; columns rouge_l and, with an encoder, bertscore with
    bertscore_encoder and bertscore_layer. BLEU is left out, as chrF is what BLEU wants to be where words are inflected. Biased
    questions are asked with and without their preamble. The paper's prompt was not to be had: the wording is ours. Its tie rule
    is unknown too. `earlier` members' answers are taken over, so that one may be added without asking the others again.
    Comparisons, corrected for all (Holm): the vote against its best member, and each member with a misleading preamble against
    itself without. summary.py makes the tables of a report from the rows. Raises ValueError for unknown sets, missing files,
    and settings that need a dev file and have none.
    Settings:
        folder: where the CSV files are
        sets: names of files without .csv; null for all seven
        dev_file: choice questions outside the examination, in the same form, for the members' accuracies; counted nowhere
        vote: majority, weighted by log-odds (needs 50 dev rows or more), or best, the answer of the best member on the dev file
        tie: best_dev, first in the order of the members, or abstain, which counts as wrong
        normalise: what is made alike for matching, not for prompts: alef, ya, tatweel, diacritics, ta_marbuta (off by default)
        chat: whether prompts go through the chat template; false for base models
        max_new_tokens: of an answer to a choice; raise it for models that reason first
        max_open_tokens: of an open answer
        bertscore: an encoder and its layer, such as [hf://bert-base-multilingual-cased, 9]; scores of two cannot be compared
    """
    names = sets if sets is not None else list(SETS)
    _check(models, earlier, names, folder, dev_file, vote, tie)
    questions = [question for name in names for question in read_questions(folder / f"{name}.csv", SETS[name], normalise)]
    dev = _dev_questions(dev_file, normalise, vote)
    rows = list(earlier.rows()) if earlier is not None else []
    rows = [row for row in rows if row["model"] != VOTE]
    _check_same_questions(rows, questions)
    for model in models:
        rows += _asked(model, questions, normalise, chat, max_new_tokens, max_open_tokens)
        rows += [row | {"task": "dev", "kind": "dev", "denominator": 0.0}
                 for row in _asked(model, dev, normalise, chat, max_new_tokens, max_open_tokens)]  # fmt: skip
    if bertscore is not None:
        _add_bertscores(rows, *bertscore)
    members = list(dict.fromkeys(row["model"] for row in rows))
    if len(members) > 1:
        rows += _votes(rows, members, vote, tie)
    table = Scores.from_rows(rows)
    return Scores(table.frame(), comparisons=_comparisons(rows, members))


def _check(
    models: Sequence[LanguageModel],
    earlier: Scores | None,
    names: list[str],
    folder: Path,
    dev_file: Path | None,
    vote: str,
    tie: str,
) -> None:
    unknown = sorted(set(names) - set(SETS))
    if unknown or not names:
        raise ValueError(f"sets={names}: {unknown or 'nothing'} is no file of the benchmark; known are {sorted(SETS)}")
    absent = [name for name in names if not (folder / f"{name}.csv").is_file()]
    if absent:
        raise ValueError(f"{folder} lacks {absent[0]}.csv: put the benchmark's files there, or name fewer in `sets`")
    known = set() if earlier is None else {row["model"] for row in earlier.rows()} - {VOTE}
    own = [model.name for model in models]
    twice = sorted({name for name in own if own.count(name) > 1 or name in known})
    if twice:
        raise ValueError(f"the member {twice[0]!r} is there twice: a member has one vote")
    if not own and not known:
        raise ValueError("there is no model to ask: give one or more in `models`, or scores in `earlier`")
    if len(own) + len(known) > 1 and dev_file is None and (vote != "majority" or tie == "best_dev"):
        raise ValueError(f"vote={vote}, tie={tie} needs a dev_file: give one, or vote: majority with tie: first or abstain")


def _dev_questions(file: Path | None, forms: Sequence[Form], vote: str) -> list[Question]:
    if file is None:
        return []
    dev = [question for question in read_questions(file, "choice", forms) if question.problem is None]
    if vote == "weighted" and len(dev) < FEWEST_FOR_WEIGHTS:
        raise ValueError(
            f"{file} has {len(dev)} usable questions, too few to weigh members by: give {FEWEST_FOR_WEIGHTS}, or vote: majority"
        )
    if not dev:
        raise ValueError(f"{file} has no question whose right answer is among its options")
    return [replace(question, id=f"dev/{number}", task="dev") for number, question in enumerate(dev, start=1)]


def _check_same_questions(rows: Sequence[Row], questions: Sequence[Question]) -> None:
    asked = {question.id: (question.text, question.gold) for question in questions}
    for model in dict.fromkeys(row["model"] for row in rows):
        theirs = {row["item"]: (row["source"], row["gold"]) for row in rows if row["model"] == model and row["kind"] != "dev"}
        if theirs != asked:
            raise ValueError(
                f"`earlier` holds other questions than these for {model!r}: give the same folder, sets and normalise"
            )


def _asked(
    model: LanguageModel, questions: Sequence[Question], forms: Sequence[Form], chat: bool, choice_tokens: int, open_tokens: int
) -> list[Row]:
    rows = [_row(question, model.name) for question in questions]
    for kind, room in (("choice", choice_tokens), ("open", open_tokens)):
        places = [place for place, one in enumerate(questions) if one.kind == kind and one.problem is None]
        if not places:
            continue
        prompts = [prompt_of(questions[place], chat) for place in places]
        completions = model.generate(prompts, max_new_tokens=room)
        check_failures([completion.error for completion in completions], f"answers of {model.name}")
        for place, completion in zip(places, completions, strict=True):
            rows[place] |= {"completion": completion.text, "failure": completion.error}
            rows[place] |= _judged(questions[place], completion.text, forms, completion.error)
    problems = Counter(question.problem for question in questions if question.problem is not None)
    if problems:
        logger.warning("%d of %d questions are left out: %s", problems.total(), len(questions), dict(problems))
    return rows


def _row(question: Question, model: str) -> Row:
    return {
        "item": question.id,
        "task": question.task,
        "role": "held_out",
        "kind": question.kind if question.kind == "choice" else "generate",
        "model": model,
        "metric": "accuracy" if question.kind == "choice" else "chrF",
        "numerator": 0.0,
        "denominator": 1.0 if question.problem is None else 0.0,
        "source": question.text,
        "options": question.options,
        "gold": question.gold,
        "answer": question.answer,
        "chosen": None,
        "completion": None,
        "failure": question.problem,
        "category": question.category,
        "bias": question.bias,
        "suggested": question.suggested,
        "negated": question.negated,
        "confidence": None,
    }


def prompt_of(question: Question, chat: bool) -> Prompt:
    """What a member is asked: the role, the question with its options as given, and what the answer should look like."""
    task = CHOOSE if question.kind == "choice" else WRITE
    text = f"{ROLE}\n\n{question.text}\n\n{task}"
    return [{"role": "user", "content": text}] if chat else f"{text}\n{ANSWER}"


def _judged(question: Question, text: str, forms: Sequence[Form], error: str | None) -> Row:
    if question.kind == "open":
        return {"numerator": chrf(text, question.answer, forms), "rouge_l": rouge_l(text, question.answer, forms)}
    chosen = meant(text, question.options, question.order, forms)
    unread = error if error is not None else "unparsed" if chosen is None else None
    return {"chosen": chosen, "numerator": float(chosen == question.gold), "failure": unread}


def _add_bertscores(rows: list[Row], encoder: str, layer: int) -> None:
    open_rows = [row for row in rows if row["kind"] == "generate" and row["denominator"] > 0]
    found = bert_score(
        [row["completion"] for row in open_rows], [row["answer"] for row in open_rows], encoder=encoder, layer=layer
    )
    for row, value in zip(open_rows, found, strict=True):
        row |= {"bertscore": value, "bertscore_encoder": encoder, "bertscore_layer": layer}


def _votes(rows: Sequence[Row], members: Sequence[str], rule: Rule, tie: Tie) -> list[Row]:
    dev = {name: [row for row in rows if row["model"] == name and row["kind"] == "dev"] for name in members}
    if any(dev.values()) and not all(dev.values()):
        without = [name for name in members if not dev[name]]
        raise ValueError(f"{without[0]!r} answered no dev questions: ask it anew with dev_file, or leave dev_file out for all")
    known = (
        [Member(int(sum(row["numerator"] for row in dev[name])), len(dev[name])) for name in members]
        if any(dev.values())
        else None
    )
    by_item: dict[str, list[Row]] = {}
    for row in rows:
        if row["kind"] == "choice":
            by_item.setdefault(row["item"], []).append(row)
    found = []
    for item in by_item.values():
        row = item[0] | {"model": VOTE, "completion": None, "chosen": None, "numerator": 0.0}
        if row["denominator"] > 0:
            decision = decide([one["chosen"] for one in item], len(row["options"]), rule=rule, tie=tie, members=known)
            row |= {
                "chosen": decision.chosen,
                "confidence": decision.confidence,
                "numerator": float(decision.chosen == row["gold"]),
            }
            row["failure"] = None if decision.chosen is not None else "no decision"
        found.append(row)
    return found


def _comparisons(rows: Sequence[Row], members: Sequence[str]) -> list[Comparison]:
    from metier.engines.stats.holm import holm
    from metier.evaluate.head_to_head import compare

    choices = [row for row in rows if row["kind"] == "choice" and row["denominator"] > 0]
    pairs: list[tuple[str, list[Row], list[Row]]] = []
    for task in dict.fromkeys(row["task"] for row in choices):
        own = {name: [row for row in choices if row["task"] == task and row["model"] == name] for name in (*members, VOTE)}
        if own[VOTE]:
            best = max(members, key=lambda name: sum(row["numerator"] for row in own[name]))
            pairs.append((f"{task}: vote against {best}", own[best], own[VOTE]))
        for name in members:
            plain = [
                row | {"item": row["item"].replace(PLAIN, "", 1)}
                for row in choices
                if row["task"] == task + PLAIN and row["model"] == name
            ]
            both = {row["item"] for row in plain} & {row["item"] for row in own[name]}
            if both:
                sides = [[row for row in side if row["item"] in both] for side in (plain, own[name])]
                pairs.append((f"{task}: {name} with bias against without", sides[0], sides[1]))
    found = [compare([row | {"task": label} for row in a], [row | {"task": label} for row in b])[0] for label, a, b in pairs]
    return [replace(one, p_holm=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]
