"""The branch of questions with written answers."""

from __future__ import annotations

import re

from metier.curate.redstone.classifier import Classifier
from metier.curate.redstone.rules import Verdict

_LIKELY = 0.5
_FEWEST = 2
_BOTH = r"q ?& ?a"
_QUESTION = re.compile(
    rf"(?<![a-z])(?:{_BOTH}|(?:q|que|question|quiz|exam|examination|probe|request|challenge|test|query|survey):|"
    r"(?:what|where|why|when|who|whose|how))(?![a-z])"
)
_ANSWER = re.compile(
    rf"(?<![a-z])(?:{_BOTH}|(?:a|ans|answer|solution|reply|response|result|outcome|explanation|conclusion|finding|assertion|statement|"
    r"clarification):)(?![a-z])"
)
_SHARES = {" ": 0.33, "  ": 0.10, "\t": 0.10, ".": 0.10, "-": 0.10, "#": 0.10, "|": 0.10, ",": 0.10}
_SHORT = 32


def judge(text: str, classifier: Classifier | None, check_layout: bool) -> Verdict | None:
    """None for a page of questions and answers: two cues of each, and the classifier's word where there is one."""
    lower = text.lower()
    for rule, cue in (("few questions", _QUESTION), ("few answers", _ANSWER)):
        count = len(cue.findall(lower))
        if count < _FEWEST:
            return Verdict(rule, count, _FEWEST)
    if check_layout and (verdict := layout(text)) is not None:
        return verdict
    probability = classifier.probability(text) if classifier is not None else 1.0
    return None if probability > _LIKELY else Verdict("classifier of open questions", probability, _LIKELY)


def layout(text: str) -> Verdict | None:
    """The authors' stricter check, which they left off: neither a menu nor a wall of text, a table or a listing."""
    lines = [line.strip() for line in text.split("\n")]
    longest = max(map(len, lines))
    bounds: list[tuple[str, float, float, float]] = [
        ("longest line", longest, 129, 2048),
        ("lines", len(lines), 4, 256),
        ("characters", len(text), 256, 16_384),
        *[(f"share of {mark!r}", text.count(mark) / max(1, len(text)), 0, limit) for mark, limit in _SHARES.items()],
        ("short lines", sum(len(line) <= _SHORT for line in lines) / len(lines), 0, 0.67),
    ]
    for rule, value, least, most in bounds:
        if not least <= value <= most:
            return Verdict(f"layout: {rule}", value, least if value < least else most)
    return None
