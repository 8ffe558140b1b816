"""New texts written by a model from labelled ones, kept only where an independent reading gives the label that was meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from metier.artifacts import Corpus
from metier.evaluate.model_as_annotator import prompts, voting
from metier.evaluate.model_as_annotator.voting import Answers
from metier.method import method
from metier.models.language_model import Completion, LanguageModel

Kind = Literal["paraphrase", "same_label", "counterfactual"]
SHORTEST, LONGEST = 0.5, 2.0  # length of a new text by its source's, in characters
ALIKE = 0.95  # cosine of character 3-gram counts from which two texts are copies
GRAMS = 3

_TASKS: dict[Kind, str] = {
    "paraphrase": "Write the text again in other words. Keep its meaning, its length and its label: {label}.",
    "same_label": "Write a new text of the same kind and about the same length, on another subject, whose label is: {label}.",
    "counterfactual": "Change as few words of the text as possible so that its label is no longer {source} but: {label}.",
}


@method(
    paper="A Survey of GPT-3 Family Large Language Models, arXiv 2310.12321",
    claim="training texts from few labelled ones, each checked by a second reading",
)
def augment(
    rows: Corpus,
    model: LanguageModel,
    *,
    labels: dict[str, str],
    kind: Kind = "paraphrase",
    copies: int = 1,
    answers: Answers = "written",
    temperature: float = 0.7,
    max_new_tokens: int = 256,
    seed: int = 0,
) -> Corpus:
    """The new texts, `copies` a row, each with its label; those that failed a filter carry its name in drop_reason.

    rows: a column `label` with one of `labels`. Leave out rows that a test is made of: copies of them would leak.
    Columns: id (the source row's with "#" and a number), text, source, label, from_id. A counterfactual takes the labels that its source
    does not have in turn. Filters, in this order: failed (the model gave no text), unfinished (cut off at max_new_tokens), length (under half
    or over twice its source's characters), copy (cosine of character 3-gram counts over 0.95 to its source or to an earlier text from it; a
    counterfactual, which must be near its source, only where it is the same), label (the model, asked as model_as_annotator asks, one vote,
    does not give the label that was meant). The table's funnel is the yield of each. Copies of other rows are curate.duplicates' to find,
    and whether the texts help is known only from training with and without them.
    Raises ValueError for rows without a known label and wrong settings, RuntimeError where over 5% of the readings can't be read.
    Settings:
        labels: name and one-line definition of each label
        kind: paraphrase keeps the meaning, same_label writes on another subject, counterfactual turns the label by a small change
        copies: new texts from each row, 1 or more
        answers: how labels are read again: written or scored, as in model_as_annotator
        temperature: of the writing; above 0, or all copies of a row would be one
        max_new_tokens: most tokens of a new text
    """
    if copies < 1 or (copies > 1 and temperature == 0):
        raise ValueError(
            f"copies={copies} at temperature={temperature}: give 1 or more copies, and a temperature above 0 for several"
        )
    table = list(rows.rows())
    wrong = next((row for row in table if row.get("label") not in labels), None)
    if wrong is not None or len(labels) < 2:
        where = f"row {wrong['id']!r} has the label {wrong.get('label')!r}" if wrong is not None else "there are too few"
        raise ValueError(f"{where}: each row needs one of two or more labels, here {list(labels)}")
    made = [
        written
        for number in range(copies)
        for written in _write(model, table, list(labels), kind, number, temperature, max_new_tokens, seed)
    ]
    _filter_texts(made, {row["id"]: row["text"] for row in table}, kind)
    _filter_labels(model, made, labels, answers, seed)
    return Corpus.from_rows(made, columns=["id", "text", "source", "label", "from_id", "drop_reason"])


def _write(
    model: LanguageModel,
    table: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    kind: Kind,
    number: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[dict[str, Any]]:
    meant = []
    for row in table:
        others = [name for name in names if name != row["label"]]
        meant.append(others[number % len(others)] if kind == "counterfactual" else row["label"])
    questions = [
        prompts.asked(
            f"{_TASKS[kind].format(label=label, source=row['label'])} Answer with the new text and nothing else.\n\n"
            f"{prompts.fenced(row['text'])}"
        )
        for row, label in zip(table, meant, strict=True)
    ]
    written = model.generate(questions, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed + number)
    return [
        {
            "id": f"{row['id']}#{number}",
            "text": completion.text.replace(prompts.OPENING, "").replace(prompts.CLOSING, "").strip(),
            "source": row["source"],
            "label": label,
            "from_id": row["id"],
            "drop_reason": _failure(completion),
        }
        for row, label, completion in zip(table, meant, written, strict=True)
    ]


def _failure(completion: Completion) -> str | None:
    if not completion.text.strip():
        return "failed"
    return "unfinished" if completion.finish_reason == "length" else None


def _filter_texts(made: Sequence[dict[str, Any]], sources: Mapping[str, str], kind: Kind) -> None:
    earlier: dict[str, list[str]] = {name: [text] for name, text in sources.items()}
    for row in made:
        if row["drop_reason"] is None:
            source, known = sources[row["from_id"]], earlier[row["from_id"]]
            if not SHORTEST * len(source) <= len(row["text"]) <= LONGEST * len(source):
                row["drop_reason"] = "length"
            elif any(_is_copy(row["text"], other, kind) for other in known):
                row["drop_reason"] = "copy"
            else:
                known.append(row["text"])


def _is_copy(text: str, other: str, kind: Kind) -> bool:
    a, b = _grams(text), _grams(other)
    if kind == "counterfactual":
        return a == b
    common = sum(count * b[gram] for gram, count in a.items())
    lengths = sum(count**2 for count in a.values()) * sum(count**2 for count in b.values())
    return float(common / lengths**0.5) > ALIKE


def _grams(text: str) -> Counter[str]:
    bare = " ".join(text.split()).casefold()
    return Counter(bare[start : start + GRAMS] for start in range(max(1, len(bare) - GRAMS + 1)))


def _filter_labels(
    model: LanguageModel, made: Sequence[dict[str, Any]], labels: Mapping[str, str], answers: Answers, seed: int
) -> None:
    left = [row for row in made if row["drop_reason"] is None]
    texts = [row["text"] for row in left]
    none: list[list[tuple[str, str]]] = [[] for _ in left]
    read = voting.collect(model, texts, labels, "", votes=1, answers=answers, examples=none, seed=seed)
    for row, [vote] in zip(left, read, strict=True):
        if vote.label != row["label"]:
            row["drop_reason"] = "label"
