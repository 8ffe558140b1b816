"""The branch of mathematics: pages that are told by the TeX in them, and by a classifier where there is little of it."""

from __future__ import annotations

from metier.curate.redstone.classifier import Classifier
from metier.curate.redstone.rules import Verdict
from metier.curate.redstone.tex import commands_in, has_operator

_LIKELY = 0.5


def judge(text: str, min_commands: int, classifier: Classifier | None) -> Verdict | None:
    """None for a page of mathematics: `min_commands` different commands of TeX are enough; fewer, but one at least (alone only
    beside an operator or a delimiter), where the classifier says so. Without one they are not."""
    found = len(commands_in(text))
    if found == 0:
        return Verdict("no TeX", 0, 1)
    if found == 1 and not has_operator(text):
        return Verdict("no operator", 0, 1)
    if found >= min_commands:
        return None
    if classifier is None:
        return Verdict("few TeX commands", found, min_commands)
    probability = classifier.probability(text)
    return None if probability > _LIKELY else Verdict("classifier of mathematics", probability, _LIKELY)
