"""A language model's opinion of how good a page is for learning, in points."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metier.models.language_model import LanguageModel, Message

MOST_POINTS = 10
_LONGEST = 6000  # characters of a page that are shown
_REQUEST = """Rate the following web page from 0 to 10 for how much a student of {subject} can learn from it. Add up points:
- up to 2 if it has anything to do with {subject}, even beside advertisements or chat;
- up to 2 more if it treats a topic of {subject} and not only mentions it;
- up to 2 more if it explains: definitions, steps, worked examples;
- up to 2 more if what it says is right, complete and in order;
- up to 2 more if it is as good as a textbook: clear, deep, without anything that distracts.

The page:
{page}

Give your reasons in at most two sentences. Then end with a line "Score: " and the sum of points."""
_SCORE = re.compile(r"score\W{0,4}(\d+(?:\.\d+)?)", re.IGNORECASE)


def rate(pages: Sequence[str], judge: LanguageModel, subject: str) -> list[float | None]:
    """Points of each page, 0 to 10; None where the answer has none. Of a long page the beginning is shown.

    Raises RuntimeError where more than half of the answers have none: then the model does not understand the request.
    """
    prompts: list[list[Message]] = [[{"role": "user", "content": _request(page, subject)}] for page in pages]
    answers = judge.generate(prompts, max_new_tokens=160)
    points = [_points(answer.text) if answer.error is None else None for answer in answers]
    unread = sum(one is None for one in points)
    if 2 * unread > len(points):
        said = next(answer.error or answer.text for answer, one in zip(answers, points, strict=True) if one is None)
        raise RuntimeError(f"{judge.name} gave no score for {unread} of {len(points)} pages; the first said {said[:200]!r}")
    return points


def _request(page: str, subject: str) -> str:
    fields = {"subject": subject, "page": page[:_LONGEST]}
    return re.sub(r"\{(\w+)\}", lambda name: fields[name[1]], _REQUEST)


def _points(answer: str) -> float | None:
    found = _SCORE.findall(answer)
    points = float(found[-1]) if found else -1.0
    return points if 0 <= points <= MOST_POINTS else None
