"""A passage and exercises about it as one text to train on: phrasings of questions, and the frame that joins them to the passage.

In the phrasings {first} and {second} are the halves of an exercise, {connective} what joins them, {domain} the field, {passage},
{title}, {start} and {rest} (the passage in two) the document, {exercises} what comes after it. Fields are filled in one pass, so
that braces in a document mean nothing.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from metier.engines.data.exercises import Exercise

MOST_OF_A_LABEL = 2
_GENERATED = 0.2
_LONGEST_TITLE = 300

_RELATION = {"entail": ("Yes", "Therefore", "entailment"), "contradict": ("No", "However", "contradiction")}
_NEUTRAL = ("Maybe", "Moreover", "neutral")

_VERDICT = (
    'Suppose that this is so: "{first}" Does it follow that "{second}"?',
    "{first}\nIs the next statement true, given the one above?\n{second}\nYes, No or Maybe:",
    "Statement: {first}\nConclusion: {second}\nMay one conclude this? Answer with Yes, No or Maybe.",
    'Given "{first}", would you accept "{second}"?',
    "Read both sentences.\nA: {first}\nB: {second}\nDoes A imply B?",
)
_CONNECTIVE = (
    "Which word joins these sentences best: Therefore, However or Moreover?\n{first}\n{second}\nWord:",
    'Fill the gap with Therefore, However or Moreover: {first} ____, "{second}"',
)
_NAMED = (
    "How does the second sentence stand to the first: entailment, contradiction or neutral?\n1. {first}\n2. {second}\nRelation:",
    'Name the relation (entailment, contradiction, neutral) of "{second}" to "{first}".',
)
_ASKED: dict[str, tuple[str, ...]] = {
    "entail": ("{first} {connective}:", 'What follows from this? "{first}"', "{first}\nDraw a conclusion:"),
    "contradict": ("{first} {connective}:", 'What speaks against this? "{first}"', "{first}\nGo on with an objection:"),
    "neutral": ("{first} {connective}:", 'What else can be said? "{first}"', "{first}\nAdd a further point:"),
    "cause_effect": (
        'What does this lead to? "{first}"',
        "Cause: {first}\nEffect:",
        "{first}\nWhat happens as a result?",
        "Question: what is the consequence of the following?\n{first}\nAnswer:",
        'Name a likely effect of "{first}"',
    ),
    "effect_cause": (
        'Why is this so? "{first}"',
        "Effect: {first}\nCause:",
        "{first}\nWhat brought this about?",
        "Question: what is the reason for the following?\n{first}\nAnswer:",
        "{first} {connective}:",
    ),
    "similar": (
        'Say it in another way: "{first}"',
        "{first} {connective}:",
        "Restate this sentence.\n{first}\nRestated:",
        "{first}\nPut differently:",
    ),
    "different": (
        'Write a sentence that goes against this one: "{first}"',
        "{first}\nWhat is the contrary view?",
        "Contrast the following with another statement.\n{first}\nContrast:",
        'What stands in opposition to "{first}"?',
    ),
    "definition": (
        "What is {first}?",
        'Define the term "{first}".',
        "{first} {connective}:",
        "Term: {first}\nDefinition:",
        "How would a textbook on {domain} define {first}?",
    ),
    "topic": ("{first} {connective}?", "Complete: {first} {connective}", "Question: {first} {connective} what?\nAnswer:"),
    "word_to_text": (
        "Write a sentence about {domain} with these words: {first}.",
        "Which sentence of the text uses the terms {first}?",
        "Terms: {first}\nA sentence of a {domain} text that holds all of them:",
        "Keywords ({domain}): {first}\nSentence:",
    ),
    "written": ("{first}", "Question: {first}\nAnswer:", "{first}\nAnswer:"),
}
_LINKS = (
    "",
    "Now answer some questions about the text.",
    "Questions on the passage above:",
    "Answer from what the text says:",
    "What do you know after reading this?",
    "Exercises on this {domain} text:",
    "Here are questions about the {domain} text above, with their answers.",
    "Test your understanding of the passage.",
    "A reader with a background in {domain} is asked:",
)
_TITLE_ONLY = (
    "{passage}{exercises}\n\nGive this {domain} text a title.\nTitle: {title}",
    "{passage}\n\nSum up the text in one line: {title}{exercises}",
    "{passage}\n\nWhat is this {domain} text about? {title}{exercises}",
    "Write a text on {domain} under this title: {title}\n\n{passage}{exercises}",
    "Title: {title}\nWrite the article that belongs to it.\n\n{passage}{exercises}",
)
_COMPLETION_ONLY = (
    "{heading}{start}\n\nGo on with the text. {rest}{exercises}",
    "This is how a text on {domain} begins:\n{heading}{start}\n\nAnd this is how it continues: {rest}{exercises}",
    "Complete the following {domain} text.\n{heading}{start}\nContinuation: {rest}{exercises}",
)
_BOTH = (
    "Complete the following {domain} text.\n{start}\nContinuation: {rest}{exercises}\n\nWhat would be a title for it? {title}",
    "{start}\n\nGo on with the text. {rest}\n\nSum it up in one line: {title}{exercises}",
    "This is how a text on {domain} begins:\n{start}\n\nAnd this is how it continues: {rest}\n\nIts title: {title}{exercises}",
)
_NEITHER = (
    "{heading}{passage}{exercises}",
    "A text on {domain}:\n{heading}{passage}{exercises}",
    "Read this {domain} text and answer the questions.\n{heading}{passage}{exercises}",
)
_FRAMES = ((_TITLE_ONLY, 0.4), (_COMPLETION_ONLY, 0.1), (_BOTH, 0.4), (_NEITHER, 0.1))


def title_of(text: str) -> tuple[str | None, str]:
    """The first line as a title, and the rest; None and the whole text where the first line is none.

    A title has up to 300 characters and text below it; a line without a full stop that goes on with a small letter is a line of a
    wrapped paragraph, and a first line longer than all the rest is the text itself.
    """
    first, _, rest = text.strip().partition("\n")
    title, body = first.strip(), rest.strip()
    wrapped = not title.endswith((".", "!", "?")) and body[:1].islower() and not rest.startswith("\n")
    if not body or not title or len(title) > min(_LONGEST_TITLE, len(body)) or wrapped:
        return None, text.strip()
    return title, body


def compose(
    title: str | None, parts: Sequence[str], exercises: Sequence[Exercise], domain: str, generator: random.Random
) -> tuple[str, dict[str, int]]:
    """The text to train on, and how many exercises of each kind are in it, `title` and `completion` among them.

    parts: the sentences of the passage, joined as they stand. At most two exercises of a label are taken (all of those a model
    wrote); those of one kind stay together, kinds come in random order. With a title and two sentences the frame asks for the
    title (0.4), for the second half of the passage (0.1), for both (0.4) or for neither (0.1); where only one can be asked for,
    with 0.5.
    """
    by_kind: dict[str, list[Exercise]] = {}
    for label in dict.fromkeys(exercise.label for exercise in exercises):
        found = [exercise for exercise in exercises if exercise.label == label]
        taken = found if label == "written" else generator.sample(found, min(len(found), MOST_OF_A_LABEL))
        by_kind.setdefault(taken[0].kind, []).extend(taken)
    kinds = generator.sample(sorted(by_kind), len(by_kind))
    counts = Counter({kind: len(by_kind[kind]) for kind in kinds})
    link = _fill(generator.choice(_LINKS), {"domain": domain})
    asked = [_asked(exercise, domain, generator) for kind in kinds for exercise in by_kind[kind]]
    block = "\n\n".join(["", *([link] if link else []), *asked]) if asked else ""
    frame, has_title, has_completion = _frame(title is not None, len(parts) > 1, generator)
    cut = generator.randint(1, len(parts) - 1) if has_completion else 0
    fields = {
        "title": title or "",
        "heading": f"{title}\n" if title is not None else "",
        "domain": domain,
        "passage": "".join(parts).strip(),
        "start": "".join(parts[:cut]).strip(),
        "rest": "".join(parts[cut:]).strip(),
        "exercises": block,
    }
    text = _fill(generator.choice(frame), fields).strip()
    return text, dict(counts | {"title": int(has_title), "completion": int(has_completion)})


def _frame(titled: bool, divisible: bool, generator: random.Random) -> tuple[Sequence[str], bool, bool]:
    """The phrasings, and whether they ask for the title, and for the second half."""
    if titled and divisible:
        frame = generator.choices([frame for frame, _ in _FRAMES], [share for _, share in _FRAMES])[0]
    elif titled or divisible:
        frame = generator.choice([_TITLE_ONLY if titled else _COMPLETION_ONLY, _NEITHER])
    else:
        frame = _NEITHER
    return frame, frame is _TITLE_ONLY or frame is _BOTH, frame is _COMPLETION_ONLY or frame is _BOTH


def _asked(exercise: Exercise, domain: str, generator: random.Random) -> str:
    """Question, space, answer."""
    second = exercise.second[:1].upper() + exercise.second[1:]
    fields = {"first": exercise.first, "second": second, "connective": exercise.connective, "domain": domain}
    if exercise.kind == "nli" and generator.random() >= _GENERATED:
        answers = _RELATION.get(exercise.label, _NEUTRAL)
        phrasings, answer = generator.choice([(_VERDICT, answers[0]), (_CONNECTIVE, answers[1]), (_NAMED, answers[2])])
        return f"{_fill(generator.choice(phrasings), fields)} {answer}"
    if exercise.label == "definition":
        second = exercise.second
    return f"{_fill(generator.choice(_ASKED[exercise.label]), fields)} {second}"


def _fill(phrasing: str, fields: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: fields[name[1]], phrasing)
